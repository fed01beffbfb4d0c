// pgx: what a program does with a connection of its own. Prints what it sees.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
)

func say(what string, value interface{}) { fmt.Printf("%s: %v\n", what, value) }

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	one, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%s dbname=%s user=%s sslmode=disable",
		os.Getenv("PGHOST"), os.Getenv("PGPORT"), os.Getenv("PGDATABASE"), os.Getenv("PGUSER")))
	must(err)
	value := func(text string, values ...interface{}) (found string) {
		must(one.QueryRow(ctx, text, values...).Scan(&found))
		return
	}
	do := func(text string, values ...interface{}) {
		_, err := one.Exec(ctx, text, values...)
		must(err)
	}
	say("select", value("SELECT (1 + 1)::text"))
	for number := 1; number <= 3; number++ {
		// Each text gets a name of its own, and stays prepared.
		say("cached", value("SELECT ($1::int * 2)::text", number))
	}
	do("SET search_path = aside, public")
	say("search_path", value("SHOW search_path"))
	do("SELECT set_config($1, $2, false)", "app.tenant", "42")
	say("set_config", value("SELECT current_setting('app.tenant')"))
	tx, err := one.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly})
	must(err)
	var isolation string
	must(tx.QueryRow(ctx, "SHOW transaction_isolation").Scan(&isolation))
	say("isolation", isolation)
	_, err = tx.Exec(ctx, "SET work_mem = '9MB'")
	must(err)
	must(tx.Commit(ctx))
	say("set in a transaction", value("SHOW work_mem"))
	do("CREATE TEMP TABLE mine (number int)")
	rows := [][]interface{}{}
	for number := 1; number <= 1000; number++ {
		rows = append(rows, []interface{}{number})
	}
	copied, err := one.CopyFrom(ctx, pgx.Identifier{"mine"}, []string{"number"}, pgx.CopyFromRows(rows))
	must(err)
	say("copied", copied)
	say("temporary table", value("SELECT sum(number)::text FROM mine"))
	do("DROP TABLE mine")
	batch := &pgx.Batch{}
	for number := 0; number < 3; number++ {
		batch.Queue("SELECT ($1::int + 100)::text", number)
	}
	results := one.SendBatch(ctx, batch)
	for number := 0; number < 3; number++ {
		var found string
		must(results.QueryRow().Scan(&found))
		say("batch", found)
	}
	must(results.Close())
	do("SELECT pg_advisory_lock(71)")
	say("advisory lock", value("SELECT pg_advisory_unlock(71)::text"))
	_, err = one.Exec(ctx, "SELECT 1 / $1::int", 0)
	var refused *pgconn.PgError
	errors.As(err, &refused)
	say("error", refused.Code)
	say("after the error", value("SELECT $1::text", "good"))
	do("LISTEN news")
	do("SELECT pg_notify('news', $1)", "first")
	heard, err := one.WaitForNotification(ctx)
	must(err)
	say("notification", fmt.Sprint(heard.Channel, " ", heard.Payload, " ", heard.PID == one.PgConn().PID()))
	must(one.Close(ctx))
}
