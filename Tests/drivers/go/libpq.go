// lib/pq: what a program does with a connection of its own. Prints what it sees.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

func say(what string, value interface{}) { fmt.Printf("%s: %v\n", what, value) }

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func main() {
	target := fmt.Sprintf("host=%s port=%s dbname=%s user=%s sslmode=disable",
		os.Getenv("PGHOST"), os.Getenv("PGPORT"), os.Getenv("PGDATABASE"), os.Getenv("PGUSER"))
	db, err := sql.Open("postgres", target)
	must(err)
	ctx := context.Background()
	one, err := db.Conn(ctx)
	must(err)
	value := func(text string, values ...interface{}) (found string) {
		must(one.QueryRowContext(ctx, text, values...).Scan(&found))
		return
	}
	do := func(text string, values ...interface{}) {
		_, err := one.ExecContext(ctx, text, values...)
		must(err)
	}
	say("select", value("SELECT 1 + 1"))
	twice, err := one.PrepareContext(ctx, "SELECT $1::int * 2")
	must(err)
	for number := 1; number <= 3; number++ {
		var found int
		must(twice.QueryRow(number).Scan(&found))
		say("prepared", found)
		say("parameters", value("SELECT $1::int * 10", number))
	}
	do("SET search_path = aside, public")
	say("search_path", value("SHOW search_path"))
	value("SELECT set_config($1, $2, false)", "app.tenant", "42")
	say("set_config", value("SELECT current_setting('app.tenant')"))
	tx, err := one.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	must(err)
	var isolation string
	must(tx.QueryRow("SHOW transaction_isolation").Scan(&isolation))
	say("isolation", isolation)
	_, err = tx.Exec("SET work_mem = '9MB'")
	must(err)
	must(tx.Commit())
	say("set in a transaction", value("SHOW work_mem"))
	do("CREATE TEMP TABLE mine (number int)")
	tx, err = one.BeginTx(ctx, nil)
	must(err)
	copying, err := tx.Prepare(pq.CopyIn("mine", "number"))
	must(err)
	for number := 1; number <= 1000; number++ {
		_, err = copying.Exec(number)
		must(err)
	}
	_, err = copying.Exec()
	must(err)
	must(copying.Close())
	must(tx.Commit())
	say("temporary table", value("SELECT sum(number) FROM mine"))
	do("DROP TABLE mine")
	do("SELECT pg_advisory_lock(71)")
	say("advisory lock", value("SELECT pg_advisory_unlock(71)"))
	_, err = one.ExecContext(ctx, "SELECT 1 / $1::int", 0)
	say("error", err.(*pq.Error).Code)
	say("after the error", value("SELECT $1::text", "good"))
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	_, err = one.ExecContext(short, "SELECT pg_sleep(20)")
	cancel()
	say("cancelled", err)
	listener := pq.NewListener(target, time.Second, time.Minute, nil)
	must(listener.Listen("news"))
	_, err = db.Exec("NOTIFY news, 'first'")
	must(err)
	select {
	case heard := <-listener.Notify:
		say("notification", heard.Channel+" "+heard.Extra)
	case <-time.After(10 * time.Second):
		say("notification", "none")
	}
	must(listener.Ping())
	must(listener.Close())
}
