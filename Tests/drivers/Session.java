// pgjdbc: what a program does with a connection of its own. Prints what it sees.
import java.io.StringReader;
import java.sql.*;
import org.postgresql.PGConnection;

public class Session {
    static void say(String what, Object value) { System.out.println(what + ": " + value); }

    static String value(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
            rows.next();
            return rows.getString(1);
        }
    }

    public static void main(String[] arguments) throws Exception {
        String options = arguments.length > 0 ? "&" + arguments[0] : "";
        String target = String.format("jdbc:postgresql://%s:%s/%s?user=%s%s", System.getenv("PGHOST"),
            System.getenv("PGPORT"), System.getenv("PGDATABASE"), System.getenv("PGUSER"), options);
        try (Connection connection = DriverManager.getConnection(target)) {
            run(connection);
        }
    }

    static void run(Connection connection) throws Exception {
        say("select", value(connection, "SELECT 1 + 1"));
        // From the fifth execution on the statement has a name.
        try (PreparedStatement twice = connection.prepareStatement("SELECT ?::int * 2")) {
            for (int number = 1; number <= 8; number++) {
                twice.setInt(1, number);
                try (ResultSet rows = twice.executeQuery()) {
                    rows.next();
                    say("prepared", rows.getInt(1));
                }
            }
        }
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        say("isolation", value(connection, "SHOW transaction_isolation"));
        connection.setReadOnly(true);
        connection.setAutoCommit(false);
        say("read only", value(connection, "SHOW transaction_read_only"));
        connection.commit();
        connection.setAutoCommit(true);
        connection.setReadOnly(false);
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        connection.setSchema("aside");
        say("schema", connection.getSchema());
        try (PreparedStatement set = connection.prepareStatement("SELECT set_config(?, ?, false)")) {
            set.setString(1, "app.tenant");
            set.setString(2, "42");
            set.executeQuery().close();
        }
        say("set_config", value(connection, "SELECT current_setting('app.tenant')"));
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.execute("SET work_mem = '9MB'");
            connection.commit();
            say("set in a transaction", value(connection, "SHOW work_mem"));
            statement.execute("CREATE TEMP TABLE mine (number int)");
        }
        connection.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY mine FROM STDIN", new StringReader("1\n2\n3\n"));
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO mine VALUES (?)")) {
            for (int number = 4; number <= 100; number++) {
                insert.setInt(1, number);
                insert.addBatch();
            }
            say("batch", insert.executeBatch().length);
        }
        connection.commit();
        say("temporary table", value(connection, "SELECT sum(number) FROM mine"));
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(10);
            int sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT generate_series(1, 1000)")) {
                while (rows.next()) sum += rows.getInt(1);
            }
            say("fetched by tens", sum);
            connection.commit();
            statement.execute("DROP TABLE mine");
        }
        connection.commit();
        Savepoint here = connection.setSavepoint("here");
        try (PreparedStatement divide = connection.prepareStatement("SELECT 1 / ?::int")) {
            divide.setInt(1, 0);
            divide.executeQuery();
        } catch (SQLException error) {
            say("error", error.getSQLState());
            connection.rollback(here);
        }
        say("after the error", value(connection, "SELECT 'good'"));
        connection.commit();
        connection.setAutoCommit(true);
        value(connection, "SELECT pg_advisory_lock(71)");
        say("advisory lock", value(connection, "SELECT pg_advisory_unlock(71)"));
        try (Statement statement = connection.createStatement()) {
            statement.execute("LISTEN news");
            statement.execute("NOTIFY news, 'first'");
        }
        PGConnection own = connection.unwrap(PGConnection.class);
        for (var heard : own.getNotifications(10000))
            say("notification", heard.getName() + " " + heard.getParameter() + " " + (heard.getPID() == own.getBackendPID()));
        say("valid", connection.isValid(5));
        say("tables", connection.getMetaData().getTables(null, "aside", "%", null).next());
    }
}
