# DBD::Pg: what a program does with a connection of its own. Prints what it sees.
use strict;
use warnings;
use DBI;

sub say_it { my ($what, $value) = @_; print "$what: " . ($value // 'undef') . "\n" }

my $target = "dbi:Pg:host=$ENV{PGHOST};port=$ENV{PGPORT};dbname=$ENV{PGDATABASE}";
# AutoCommit off: everything is in a transaction.
my $db = DBI->connect($target, $ENV{PGUSER}, '', { AutoCommit => 0, RaiseError => 1, PrintError => 0 });
say_it('select', $db->selectrow_array('SELECT 1 + 1'));
my $twice = $db->prepare('SELECT ?::int * 2');
for my $number (1 .. 3) {
    $twice->execute($number);
    say_it('prepared', $twice->fetchrow_array);
    $twice->finish;
    $db->commit;
}
$db->do('SET search_path = aside, public');
$db->commit;
say_it('search_path', $db->selectrow_array('SHOW search_path'));
$db->commit;
$db->do("SET work_mem = '9MB'");
$db->rollback;
say_it('rolled back', $db->selectrow_array('SHOW work_mem'));
$db->do('SELECT set_config(?, ?, false)', undef, 'app.tenant', '42');
$db->commit;
say_it('set_config', $db->selectrow_array("SELECT current_setting('app.tenant')"));
$db->do('CREATE TEMP TABLE mine (number int)');
$db->do('COPY mine FROM STDIN');
$db->pg_putcopydata("$_\n") for 1 .. 1000;
$db->pg_putcopyend;
$db->commit;
say_it('temporary table', $db->selectrow_array('SELECT sum(number) FROM mine'));
$db->do('DROP TABLE mine');
$db->commit;
$db->do('SELECT pg_advisory_lock(71)');
$db->commit;
say_it('advisory lock', $db->selectrow_array('SELECT pg_advisory_unlock(71)'));
$db->commit;
$db->pg_savepoint('here');
eval { $db->do('SELECT 1 / ?::int', undef, 0) };
say_it('error', $db->state);
$db->pg_rollback_to('here');
say_it('after the error', $db->selectrow_array('SELECT ?::text', undef, 'good'));
$db->commit;
$db->{AutoCommit} = 1;
$db->do('DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 9)');
say_it('held cursor', join ',', map { $_->[0] } @{ $db->selectall_arrayref('FETCH 5 FROM held') });
say_it('held cursor', join ',', map { $_->[0] } @{ $db->selectall_arrayref('FETCH 5 FROM held') });
$db->do('CLOSE held');
$db->do('LISTEN news');
$db->do("SELECT pg_notify('news', ?)", undef, 'first');
my $heard;
for (1 .. 1000) {
    last if $heard = $db->pg_notifies;
    select undef, undef, undef, 0.01;
}
say_it('notification', "$heard->[0] $heard->[2] " . ($heard->[1] == $db->{pg_pid} ? 'own' : 'other'));
say_it('ping', $db->ping ? 'alive' : 'dead');
$db->disconnect;
