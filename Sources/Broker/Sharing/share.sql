-- Shared bounds of pglease: one total for the sidecars of many hosts. docs/reach.md says what the numbers mean.
-- May be run again: it changes the functions, and keeps the totals.

create schema if not exists pglease;

-- What an operator sets: `pglease share set NAME TOTAL`.
create table if not exists pglease.bound (
    bound text primary key,
    total integer not null check (total > 0),
    -- Places of the total that no share takes: a sidecar that has no connection yet asks on one of them.
    spare integer not null default 2 check (spare >= 0)
);

-- What the sidecars agree on. A crash of PostgreSQL empties these two, and ends the connections that they speak of.
create unlogged table if not exists pglease.state (
    bound text primary key,
    -- The sum of all shares.
    taken integer not null default 0,
    -- Sidecars that asked lately.
    hosts integer not null default 0,
    -- Milliseconds between two questions of a sidecar.
    period integer not null default 5000,
    -- One place for each sidecar, and this many more for each unit of its weight; infinite: all have what they want.
    level double precision not null default 'infinity',
    -- What whole numbers leave: places that the next to ask may have beyond the level, and those that have one too many.
    extra integer not null default 0,
    surplus integer not null default 0,
    -- Milliseconds that have passed for certain, by the clocks of the sidecars: no clock here can leap.
    clock bigint not null default 0,
    levelled bigint,
    -- Another one after each start of PostgreSQL, and each crash: what was said in the one before is void.
    era uuid not null default gen_random_uuid(),
    started timestamptz not null default pg_postmaster_start_time()
);

create unlogged table if not exists pglease.share (
    bound text not null,
    -- One run of a sidecar.
    holder uuid not null,
    host text not null,
    weight integer not null,
    -- How many connections it may have.
    share integer not null,
    -- It is due one more than the level gives, of what whole numbers leave.
    bonus boolean not null,
    -- How many it has, in whatever state, and how many it could use.
    used integer not null,
    want integer not null,
    pids integer[] not null,
    -- The number of its last question: one that was overtaken changes nothing.
    number bigint not null,
    clock bigint not null,
    -- By `state.clock`. From then on it opens nothing, and its share shrinks to the connections that are still there.
    until bigint not null,
    role name not null,
    asked timestamptz not null,
    primary key (bound, holder)
) with (fillfactor = 50);

-- Those that have no place yet are few, and counted with each question.
create index if not exists share_none on pglease.share (bound) where share = 0;

-- What a sidecar is due at a level, before what whole numbers leave is shared out.
create or replace function pglease.due(want integer, weight integer, level double precision) returns integer
language sql immutable
return 1 + least(greatest(want, 1) - 1, floor(level * weight)::double precision)::integer;

-- Who has a claim now, and to how many. Who wants more than it has asks five times in a period: one that has been silent
-- for longer claims what it has, until it speaks again: nothing, if it has nothing.
create or replace function pglease.claims(about text, clock bigint, period integer)
returns table (holder uuid, weight integer, want integer, bonus boolean)
language sql stable
begin atomic
    select s.holder, s.weight,
        case when claims.clock - s.clock > 3 * claims.period / 10 then least(s.want, s.share) else s.want end, s.bonus
        from pglease.share s
        where s.bound = about and s.until >= claims.clock
            and (s.share > 0 or claims.clock - s.clock <= 3 * claims.period / 10);
end;

-- Settles what every sidecar is due, and shrinks the shares of those that have not asked for six periods.
create or replace function pglease.level(about text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
    terms pglease.bound;
    it pglease.state;
    gone pglease.share;
    alive integer;
    places integer;
    claimants integer;
    is_crowded boolean;
    over integer;
begin
    select * into strict terms from pglease.bound b where b.bound = about;
    terms.spare := least(terms.spare, terms.total - 1);
    select * into strict it from pglease.state s where s.bound = about for update;
    for gone in select * from pglease.share s where s.bound = about and s.until < it.clock order by s.holder loop
        -- Those that it told of, and those that it may have opened since: before its row ran out, and a minute for a
        -- clock that was set.
        select count(*) into alive
            from pg_stat_activity a
            where a.backend_type = 'client backend'
                and (a.pid = any (gone.pids)
                    or a.pid <> pg_backend_pid() and a.usename = gone.role
                        and coalesce(a.application_name, '') <> 'pglease share'
                        and (a.backend_start is null
                            or a.backend_start > gone.asked - interval '1 minute'
                                and a.backend_start < gone.asked + interval '1 minute'
                                    + 6 * it.period * interval '1 millisecond')
                        and not exists (
                            select from pglease.share s where s.bound = about and a.pid = any (s.pids)));
        alive := least(alive, gone.share);
        if alive = 0 then
            delete from pglease.share s where s.bound = about and s.holder = gone.holder;
        elsif alive < gone.share then
            update pglease.share s set share = alive where s.bound = about and s.holder = gone.holder;
        end if;
        it.taken := it.taken - gone.share + alive;
    end loop;

    select count(*) filter (where s.until >= it.clock),
            terms.total - terms.spare - coalesce(sum(s.share) filter (where s.until < it.clock), 0)
        into it.hosts, places
        from pglease.share s where s.bound = about;
    -- Where not all can have a place, one that wants none is due none.
    is_crowded := it.hosts > terms.total - terms.spare;
    select count(*) into claimants from pglease.claims(about, it.clock, it.period) l where l.want > 0 or not is_crowded;
    -- Max-min: one place each; of the others nobody has more than it wants, and who has less than it wants has no less
    -- than anybody else for its weight.
    select coalesce(max(c.level) filter (where c.level <= c.wish), 'infinity') into it.level
        from (
            select w.wish,
                (places - claimants - sum(w.more) over upto + w.more)
                    / (sum(w.weight) over () - sum(w.weight) over upto + w.weight)::double precision as level
                from (
                    select l.holder, l.weight, greatest(l.want, 1) - 1 as more,
                        (greatest(l.want, 1) - 1) / l.weight::double precision as wish
                        from pglease.claims(about, it.clock, it.period) l
                        where l.want > 0 or not is_crowded) w
                window upto as (order by w.wish, w.holder)) c;
    it.level := greatest(it.level, 0);
    it.extra := 0;
    it.surplus := 0;
    if it.level < 'infinity' then
        select places - coalesce(sum(d.due), 0), count(*) filter (where d.bonus and d.want > d.due)
            into it.extra, over
            from (
                select l.bonus, l.want, pglease.due(l.want, l.weight, it.level) as due
                    from pglease.claims(about, it.clock, it.period) l
                    where l.want > 0 or not is_crowded) d;
        it.extra := greatest(it.extra, 0);
        it.surplus := greatest(over - it.extra, 0);
        it.extra := greatest(it.extra - over, 0);
    end if;
    it.period := 5000 * sqrt(greatest(1, it.hosts / 100.0));
    update pglease.state s set
        taken = it.taken, hosts = it.hosts, period = it.period, level = it.level, extra = it.extra,
        surplus = it.surplus, levelled = it.clock
        where s.bound = about;
end
$function$;

-- A sidecar says what it has and wants, and is told what it may have: `share` connections at most, of which it is due
-- `target`. `my_era` and `my_clock` are the last answer's, null if it had none; `since`: the milliseconds since that
-- arrived, by the sidecar's own clock.
create or replace function pglease.ask(
    about text, me uuid, my_host text, my_weight integer, my_number bigint, my_era uuid, my_clock bigint, since bigint,
    my_used integer, my_want integer, my_pids integer[],
    out share integer, out target integer, out free integer, out total integer, out hosts integer, out period integer,
    out era uuid, out clock bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
    terms pglease.bound;
    it pglease.state;
    mine pglease.share;
    is_known boolean;
    room integer;
    goal integer;
begin
    select * into terms from pglease.bound b where b.bound = about;
    if not found then
        raise exception 'there is no shared bound "%"', about using
            errcode = 'undefined_object', hint = format('pglease share set %s TOTAL', about);
    end if;
    terms.spare := least(terms.spare, terms.total - 1);
    insert into pglease.state (bound) values (about) on conflict do nothing;
    -- Everybody waits for its turn here: all that follows is in one order.
    select * into it from pglease.state s where s.bound = about for update;
    if it.started is distinct from pg_postmaster_start_time() then
        delete from pglease.share s where s.bound = about;
        delete from pglease.state s where s.bound = about;
        insert into pglease.state (bound) values (about) returning * into it;
    end if;
    select * into mine from pglease.share s where s.bound = about and s.holder = me;
    is_known := found;
    if is_known and my_number <= mine.number then
        raise exception 'question % of this sidecar was overtaken', my_number using errcode = 'object_not_in_prerequisite_state';
    end if;
    if my_era = it.era and my_clock + since > it.clock then
        -- Nobody had counted for a while. Who asked meanwhile was written down too early.
        if my_clock + since - it.clock > it.period / 2 then
            update pglease.share s set
                clock = s.clock + my_clock + since - it.clock, until = s.until + my_clock + since - it.clock
                where s.bound = about and s.clock >= my_clock;
        end if;
        it.clock := my_clock + since;
        update pglease.state s set clock = it.clock where s.bound = about;
    end if;
    if is_known then
        update pglease.share s set
            host = my_host, weight = my_weight, used = my_used, want = my_want, pids = my_pids, number = my_number,
            clock = it.clock, until = it.clock + 6 * it.period, role = session_user, asked = clock_timestamp()
            where s.bound = about and s.holder = me;
    else
        insert into pglease.share values (
            about, me, my_host, my_weight, 0, false, my_used, my_want, my_pids, my_number, it.clock,
            it.clock + 6 * it.period, session_user, clock_timestamp());
        mine.share := 0;
        mine.bonus := false;
    end if;

    -- Once in a period; sooner for one that is new or has nothing, and where the level is found to be wrong: one waits
    -- beside free places, or there are none and everybody was to have what it wants.
    if it.levelled is null or it.clock - it.levelled >= it.period
        or it.clock - it.levelled >= it.period / 10
            and (it.level < 'infinity' and not is_known
                or my_want > mine.share
                    and (mine.share = 0 or (it.level < 'infinity') = (it.taken < terms.total - terms.spare)))
    then
        perform pglease.level(about);
        select * into it from pglease.state s where s.bound = about;
    end if;
    target := pglease.due(my_want, my_weight, it.level);
    if my_want <= target then
        mine.bonus := false;
        if my_want = 0 and it.hosts > terms.total - terms.spare then target := 0; end if;
    elsif mine.bonus and it.surplus > 0 then
        mine.bonus := false;
        it.surplus := it.surplus - 1;
    elsif not mine.bonus and it.extra > 0 and it.taken < terms.total - terms.spare then
        mine.bonus := true;
        it.extra := it.extra - 1;
    end if;
    if mine.bonus then target := target + 1; end if;
    goal := target;
    -- One that the table does not know keeps what it has.
    if not is_known then goal := greatest(target, my_used); end if;
    if mine.share >= goal then
        share := least(mine.share, greatest(target, my_used));
    else
        room := terms.total - terms.spare - it.taken;
        if mine.share > 0 and room > 0 then
            -- Those that have none come first, while they ask.
            select room - count(*) into room
                from pglease.share s
                where s.bound = about and s.share = 0 and s.want > 0 and it.clock - s.clock <= 3 * it.period / 10;
        end if;
        share := mine.share + greatest(0, least(goal - mine.share, room));
    end if;
    it.taken := it.taken + share - mine.share;
    update pglease.share s set share = ask.share, bonus = mine.bonus, until = it.clock + 6 * it.period
        where s.bound = about and s.holder = me;
    update pglease.state s set taken = it.taken, extra = it.extra, surplus = it.surplus where s.bound = about;
    free := greatest(0, terms.total - terms.spare - it.taken);
    total := terms.total;
    hosts := it.hosts;
    period := it.period;
    era := it.era;
    clock := it.clock;
end
$function$;

-- A sidecar goes, and has closed its connections: its places are free once they are gone. If they stay longer than a
-- second, its row runs out as anybody's.
create or replace function pglease.leave(about text, me uuid, my_pids integer[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
    given integer;
begin
    for attempt in 1..100 loop
        perform pg_stat_clear_snapshot();
        exit when not exists (select from pg_stat_activity a where a.pid = any (my_pids));
        if attempt = 100 then return; end if;
        perform pg_sleep(0.01);
    end loop;
    perform from pglease.state s where s.bound = about for update;
    delete from pglease.share s where s.bound = about and s.holder = me returning s.share into given;
    if found then
        update pglease.state s set taken = s.taken - given where s.bound = about;
    end if;
end
$function$;

-- Only who is named by `pglease share init --role` may ask.
revoke all on function pglease.level(text) from public;
revoke all on function pglease.claims(text, bigint, integer) from public;
revoke all on function pglease.ask(text, uuid, text, integer, bigint, uuid, bigint, bigint, integer, integer, integer[]) from public;
revoke all on function pglease.leave(text, uuid, integer[]) from public;
