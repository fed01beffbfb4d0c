-- The state in which every program begins. Run as superuser in each lane's database of both clusters.

CREATE SCHEMA one;
CREATE SCHEMA two;
CREATE TABLE public.thing (id int PRIMARY KEY, place text, n int);
CREATE TABLE one.thing (id int PRIMARY KEY, place text, n int);
CREATE TABLE two.thing (id int PRIMARY KEY, place text, n bigint, more text DEFAULT 'more');
CREATE TABLE one.only_one (id int);
CREATE TABLE public.numbered (id serial PRIMARY KEY, word text);
CREATE SEQUENCE public.counter;
CREATE TABLE one.locked (id int);
CREATE TABLE public.tenant_rows (tenant text, note text);
CREATE VIEW public.seen AS SELECT current_user AS who, current_setting('app.tenant', true) AS tenant;
ALTER TABLE public.tenant_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON public.tenant_rows USING (tenant = current_setting('app.tenant', true));

CREATE FUNCTION public.run(statement text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN EXECUTE statement; RETURN 'ran'; END$$;
CREATE FUNCTION public.set_it(name text, value text) RETURNS text LANGUAGE sql AS
$$SELECT set_config(name, value, false)$$;
CREATE FUNCTION public.set_it_inside(name text, value text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN PERFORM set_config(name, value, false); RETURN current_setting(name); END$$;
CREATE FUNCTION public.set_it_and_fail(name text, value text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN PERFORM set_config(name, value, false); RAISE EXCEPTION 'failed after setting %', name; END$$;
CREATE FUNCTION public.set_it_and_catch(name text, value text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN
    BEGIN
        PERFORM set_config(name, value, false);
        RAISE EXCEPTION 'caught';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
    RETURN current_setting(name, true);
END$$;
CREATE FUNCTION public.with_own_path() RETURNS text LANGUAGE plpgsql SET search_path = two, public AS
$$BEGIN RETURN (SELECT string_agg(place, ',' ORDER BY id) FROM thing); END$$;
CREATE FUNCTION public.say(what text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN
    RAISE NOTICE 'said %', what USING HINT = 'a hint';
    RAISE WARNING 'warned %', what;
    RAISE INFO 'informed %', what;
    RETURN what;
END$$;
CREATE FUNCTION public.fail(what text, code text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION USING MESSAGE = what, ERRCODE = code, DETAIL = 'some detail'; END$$;
CREATE FUNCTION public.make_temporary(name text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN EXECUTE format('CREATE TEMP TABLE %I AS SELECT 7 AS n', name); RETURN name; END$$;
CREATE FUNCTION public.lock_it(key bigint) RETURNS text LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_advisory_lock(key); RETURN 'locked'; END$$;
CREATE FUNCTION public.hear(channel text) RETURNS text LANGUAGE plpgsql AS
$$BEGIN EXECUTE format('LISTEN %I', channel); RETURN channel; END$$;
CREATE FUNCTION public.owner_of_rights() RETURNS text LANGUAGE sql SECURITY DEFINER AS
$$SELECT session_user || ' as ' || current_user$$;
CREATE PROCEDURE public.run_both(first text, second text) LANGUAGE plpgsql AS
$$BEGIN EXECUTE first; COMMIT; EXECUTE second; END$$;
CREATE PROCEDURE public.run_and_roll_back(first text, second text) LANGUAGE plpgsql AS
$$BEGIN EXECUTE first; ROLLBACK; EXECUTE second; END$$;

-- What a session holds that no view shows; for the look at a clean connection.
CREATE FUNCTION public.probe_lastval() RETURNS text LANGUAGE plpgsql AS
$$BEGIN RETURN lastval(); EXCEPTION WHEN OBJECT_NOT_IN_PREREQUISITE_STATE THEN RETURN 'none'; END$$;
CREATE FUNCTION public.probe_currval() RETURNS text LANGUAGE plpgsql AS
$$BEGIN
    RETURN currval('public.counter');
EXCEPTION WHEN OBJECT_NOT_IN_PREREQUISITE_STATE THEN RETURN 'none'; END$$;

CREATE FUNCTION public.snapshot() RETURNS TABLE (name text, value text) LANGUAGE plpgsql AS
$$BEGIN
    RETURN QUERY
    SELECT 'setting ' || s.name, concat_ws(' ', s.setting, 'from', s.source, s.sourcefile, 'reset to',
        s.reset_val) FROM pg_settings s
    UNION ALL SELECT 'user', concat_ws(' ', session_user, 'as', current_user, current_setting('role'),
        current_setting('session_authorization'))
    UNION ALL SELECT 'path', current_schemas(true)::text
    UNION ALL SELECT 'channel ' || channel, 'listens' FROM pg_listening_channels() AS channel
    UNION ALL SELECT concat_ws(' ', 'lock', classid, objid, objsubid), mode FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()
    UNION ALL SELECT 'statement ' || s.name, s.statement FROM pg_prepared_statements s
    UNION ALL SELECT 'cursor ' || c.name, c.statement FROM pg_cursors c WHERE c.name <> ''
    UNION ALL SELECT concat_ws(' ', 'temporary', classid::regclass::text, coalesce(classes.relname,
        routines.proname, types.typname, objid::text)), deptype::text FROM pg_depend
        LEFT JOIN pg_class classes ON classid = 'pg_class'::regclass AND classes.oid = objid
        LEFT JOIN pg_proc routines ON classid = 'pg_proc'::regclass AND routines.oid = objid
        LEFT JOIN pg_type types ON classid = 'pg_type'::regclass AND types.oid = objid
        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = pg_my_temp_schema()
    UNION ALL SELECT 'lastval', public.probe_lastval()
    UNION ALL SELECT 'currval', public.probe_currval()
    UNION ALL SELECT 'custom ' || custom, current_setting(custom, true)
        FROM unnest(ARRAY['app.tenant', 'app.user', 'My.Odd']) AS custom;
END$$;

GRANT ALL ON SCHEMA public, one, two TO plain, boss, ready, steady;
GRANT ALL ON ALL TABLES IN SCHEMA public, one, two TO plain, boss, ready, steady;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public, one, two TO plain, boss, ready, steady;
REVOKE ALL ON one.locked FROM plain, steady;

-- Brings the state back. Whatever programs make that lasts is called made_… or a large object.
CREATE PROCEDURE public.fresh() LANGUAGE plpgsql SET client_min_messages = error AS
$fresh$
DECLARE each record;
BEGIN
    FOR each IN
        SELECT c.oid::regclass::text AS name,
               CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
        FROM pg_class c WHERE relname LIKE 'made\_%' AND relpersistence <> 't'
            AND relkind IN ('r', 'v', 'S')
    LOOP
        EXECUTE format('DROP %s IF EXISTS %s CASCADE', each.kind, each.name);
    END LOOP;
    FOR each IN SELECT p.oid::regprocedure::text AS name FROM pg_proc p
        JOIN pg_namespace s ON s.oid = pronamespace
        WHERE proname LIKE 'made\_%' AND nspname NOT LIKE 'pg\_temp%'
    LOOP
        EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', each.name);
    END LOOP;
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
    PERFORM setval('public.counter', 1, false), setval('public.numbered_id_seq', 1, false);
    IF (SELECT string_agg(t::text, ' ' ORDER BY id) FROM public.thing t)
        IS DISTINCT FROM '(1,public,10) (2,public,20) (3,public,30) (4,public,40) (5,public,50)' THEN
        TRUNCATE public.thing;
        INSERT INTO public.thing SELECT n, 'public', n * 10 FROM generate_series(1, 5) n;
    END IF;
    IF (SELECT string_agg(t::text, ' ' ORDER BY id) FROM one.thing t)
        IS DISTINCT FROM '(1,one,100) (2,one,200) (3,one,300) (4,one,400)' THEN
        TRUNCATE one.thing;
        INSERT INTO one.thing SELECT n, 'one', n * 100 FROM generate_series(1, 4) n;
    END IF;
    IF (SELECT string_agg(t::text, ' ' ORDER BY id) FROM two.thing t)
        IS DISTINCT FROM '(1,two,1000,more) (2,two,2000,more) (3,two,3000,more)' THEN
        TRUNCATE two.thing;
        INSERT INTO two.thing SELECT n, 'two', n * 1000 FROM generate_series(1, 3) n;
    END IF;
    IF (SELECT string_agg(t::text, ' ') FROM one.only_one t) IS DISTINCT FROM '(1)' THEN
        TRUNCATE one.only_one;
        INSERT INTO one.only_one VALUES (1);
    END IF;
    IF EXISTS (SELECT FROM public.numbered) THEN
        TRUNCATE public.numbered;
    END IF;
    IF NOT EXISTS (SELECT FROM public.tenant_rows) THEN
        INSERT INTO public.tenant_rows VALUES ('a', 'for a'), ('b', 'for b');
    END IF;
END
$fresh$;
