// node-pg: what a program does with a connection of its own. Prints what it sees.
const { Client } = require('pg');
const say = (what, value) => console.log(`${what}: ${value}`);
const one = async (client, ...query) => Object.values((await client.query(...query)).rows[0])[0];

(async () => {
  const client = new Client();
  await client.connect();
  say('select', await one(client, 'SELECT 1 + 1'));
  for (const number of [1, 2, 3]) {
    say('parameters', await one(client, 'SELECT $1::int * 10', [number]));
    say('named', await one(client, { name: 'twice', text: 'SELECT $1::int * 2', values: [number] }));
  }
  await client.query("SET search_path = aside, public");
  say('search_path', await one(client, 'SHOW search_path'));
  await client.query('SELECT set_config($1, $2, false)', ['app.tenant', '42']);
  say('set_config', await one(client, "SELECT current_setting('app.tenant')"));
  await client.query('BEGIN');
  await client.query("SET work_mem = '9MB'");
  await client.query('COMMIT');
  say('set in a transaction', await one(client, 'SHOW work_mem'));
  await client.query('CREATE TEMP TABLE mine (number int)');
  await client.query('INSERT INTO mine SELECT generate_series(1, $1::int)', [1000]);
  say('temporary table', await one(client, 'SELECT sum(number)::int FROM mine'));
  await client.query('DROP TABLE mine');
  await client.query('SELECT pg_advisory_lock(71)');
  say('advisory lock', await one(client, 'SELECT pg_advisory_unlock(71)'));
  try {
    await client.query('BEGIN');
    await client.query('SELECT 1 / $1::int', [0]);
  } catch (error) {
    say('error', `${error.code} ${error.message}`);
    await client.query('ROLLBACK');
  }
  say('after the error', await one(client, 'SELECT $1::text', ['good']));
  const heard = new Promise((resolve) => client.on('notification', resolve));
  await client.query('LISTEN news');
  await client.query("SELECT pg_notify('news', $1)", ['first']);
  const notification = await heard;
  say('notification', `${notification.channel} ${notification.payload}`);
  const rows = (await client.query('SELECT generate_series(1, 50000) AS n')).rows;
  say('many rows', rows.reduce((sum, row) => sum + row.n, 0));
  await client.end();
})().catch((error) => { console.log(`failed: ${error.message}`); process.exit(1); });
