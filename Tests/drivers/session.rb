# ruby-pg: what a program does with a connection of its own. Prints what it sees.
require 'pg'

def say(what, value) = puts("#{what}: #{value}")

connection = PG.connect
say 'select', connection.exec('SELECT 1 + 1').getvalue(0, 0)
connection.prepare('twice', 'SELECT $1::int * 2')
[1, 2, 3].each do |number|
  say 'parameters', connection.exec_params('SELECT $1::int * 10', [number]).getvalue(0, 0)
  say 'named', connection.exec_prepared('twice', [number]).getvalue(0, 0)
end
connection.exec('SET search_path = aside, public')
say 'search_path', connection.exec('SHOW search_path').getvalue(0, 0)
connection.exec_params('SELECT set_config($1, $2, false)', ['app.tenant', '42'])
say 'set_config', connection.exec("SELECT current_setting('app.tenant')").getvalue(0, 0)
connection.transaction { |inside| inside.exec("SET work_mem = '9MB'") }
say 'set in a transaction', connection.exec('SHOW work_mem').getvalue(0, 0)
connection.exec('CREATE TEMP TABLE mine (number int)')
connection.copy_data('COPY mine FROM STDIN') { 1.upto(1000) { |n| connection.put_copy_data("#{n}\n") } }
say 'temporary table', connection.exec('SELECT sum(number) FROM mine').getvalue(0, 0)
connection.exec('DROP TABLE mine')
connection.exec('DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 9)')
say 'held cursor', connection.exec('FETCH 5 FROM held').column_values(0).join(',')
say 'held cursor', connection.exec('FETCH 5 FROM held').column_values(0).join(',')
connection.exec('CLOSE held')
connection.exec('SELECT pg_advisory_lock(71)')
say 'advisory lock', connection.exec('SELECT pg_advisory_unlock(71)').getvalue(0, 0)
begin
  connection.transaction { |inside| inside.exec_params('SELECT 1 / $1::int', [0]) }
rescue PG::Error => error
  say 'error', error.result.error_field(PG::PG_DIAG_SQLSTATE)
end
say 'after the error', connection.exec_params('SELECT $1::text', ['good']).getvalue(0, 0)
connection.exec('LISTEN news')
connection.exec_params("SELECT pg_notify('news', $1)", ['first'])
connection.wait_for_notify(10) do |channel, pid, payload|
  say 'notification', "#{channel} #{payload} #{pid == connection.backend_pid}"
end
connection.enter_pipeline_mode
3.times { |number| connection.send_query_params('SELECT $1::int + 100', [number]) }
connection.pipeline_sync
3.times do
  say 'pipeline', connection.get_result.getvalue(0, 0)
  connection.get_result
end
connection.get_result
connection.exit_pipeline_mode
sum = 0
connection.send_query('SELECT generate_series(1, 50000)')
connection.set_single_row_mode
connection.get_result.stream_each_row { |row| sum += row[0].to_i }
say 'many rows', sum
connection.finish
