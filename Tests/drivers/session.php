<?php
// PDO and pg_*: what a program does with a connection of its own. Prints what it sees.
function say($what, $value) { echo "$what: $value\n"; }
function value($pdo, $text, $values = []) {
    $statement = $pdo->prepare($text);
    $statement->execute($values);
    return $statement->fetchColumn();
}

$target = sprintf('host=%s;port=%s;dbname=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'));
$pdo = new PDO("pgsql:$target", getenv('PGUSER'), '', [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
say('select', $pdo->query('SELECT 1 + 1')->fetchColumn());
$twice = $pdo->prepare('SELECT ?::int * 2');
foreach ([1, 2, 3] as $number) {
    $twice->execute([$number]);
    say('prepared', $twice->fetchColumn());
}
$pdo->prepare('set search_path to aside, public')->execute();
say('search_path', value($pdo, 'SHOW search_path'));
value($pdo, 'SELECT set_config(?, ?, false)', ['app.tenant', '42']);
say('set_config', value($pdo, "SELECT current_setting('app.tenant')"));
$pdo->exec("SET NAMES 'LATIN1'");
say('names', value($pdo, 'SHOW client_encoding'));
$pdo->exec("SET NAMES 'UTF8'");
$pdo->beginTransaction();
$pdo->exec("SET work_mem = '9MB'");
$pdo->commit();
say('set in a transaction', value($pdo, 'SHOW work_mem'));
$pdo->exec('CREATE TEMP TABLE mine (number int)');
$pdo->pgsqlCopyFromArray('mine', array_map('strval', range(1, 1000)));
say('temporary table', value($pdo, 'SELECT sum(number) FROM mine'));
$pdo->exec('DROP TABLE mine');
$pdo->exec('SELECT pg_advisory_lock(71)');
say('advisory lock', var_export(value($pdo, 'SELECT pg_advisory_unlock(71)'), true));
try {
    $pdo->beginTransaction();
    value($pdo, 'SELECT 1 / ?::int', [0]);
} catch (PDOException $error) {
    say('error', $error->getCode());
    $pdo->rollBack();
}
say('after the error', value($pdo, 'SELECT ?::text', ['good']));
$pdo->exec('LISTEN news');
value($pdo, "SELECT pg_notify('news', ?)", ['first']);
$heard = $pdo->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
say('notification', $heard['message'] . ' ' . $heard['payload'] . ' ' . var_export($heard['pid'] == $pdo->pgsqlGetPid(), true));
$pdo->setAttribute(PDO::ATTR_EMULATE_PREPARES, true);
say('emulated', value($pdo, 'SELECT ?', ['text']));

$own = pg_connect(sprintf('host=%s port=%s dbname=%s user=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'), getenv('PGUSER')));
pg_prepare($own, 'thrice', 'SELECT $1::int * 3');
foreach ([1, 2] as $number) say('pg_execute', pg_fetch_result(pg_execute($own, 'thrice', [$number]), 0, 0));
pg_query($own, 'DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 9)');
say('held cursor', implode(',', pg_fetch_all_columns(pg_query($own, 'FETCH 5 FROM held'))));
say('held cursor', implode(',', pg_fetch_all_columns(pg_query($own, 'FETCH 5 FROM held'))));
pg_close($own);
