//! SQL that a command gives to a database: what its statements do, as a parser of SQL reads them.

use crds::v1alpha1::SqlStatement;
use sqlparser::{
    ast::{AlterTableOperation, BinaryOperator, CopyTarget, Expr, ObjectType, Statement, Value},
    dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect},
    keywords::Keyword,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use super::{
    Why, Word, option,
    simple::{Call, joined},
    stream::Stream,
    walker::Walker,
};

/// A client of a database: how it is given statements.
struct Client {
    names: &'static [&'static str],
    options: &'static [&'static str],
    dialect: fn() -> Box<dyn Dialect>,
}

const CLIENTS: &[Client] = &[
    Client {
        names: &["psql", "pgcli", "vsql"],
        options: &["-c", "--command"],
        dialect: || Box::new(PostgreSqlDialect {}),
    },
    Client {
        names: &["cockroach"],
        options: &["-e", "--execute"],
        dialect: || Box::new(PostgreSqlDialect {}),
    },
    Client {
        names: &["mysql", "mariadb", "mycli"],
        options: &["-e", "--execute"],
        dialect: || Box::new(MySqlDialect {}),
    },
    Client {
        names: &["sqlite3", "sqlite", "litecli"],
        options: &["-cmd"],
        dialect: || Box::new(SQLiteDialect {}),
    },
    Client {
        names: &[
            "clickhouse-client",
            "clickhouse",
            "sqlcmd",
            "cqlsh",
            "duckdb",
            "snowsql",
            "isql",
            "trino",
            "presto",
            "beeline",
            "hive",
            "impala-shell",
            "sqlplus",
            "db2",
            "bq",
            "spark-sql",
            "usql",
        ],
        options: &[
            "-q",
            "-Q",
            "--query",
            "-e",
            "-c",
            "--execute",
            "-s",
            "-f",
            "--multiquery",
        ],
        dialect: || Box::new(GenericDialect {}),
    },
];

/// What statements are found to do.
#[derive(Default)]
struct Read {
    statements: Vec<SqlStatement>,
    /// Programs that the database or its client runs.
    programs: Vec<String>,
    /// Whether something in it is not understood.
    doubtful: bool,
}

impl Walker {
    /// The statements that a command gives to a database.
    pub fn sql(&mut self, name: &str, call: &Call) -> Vec<SqlStatement> {
        let Some(client) = CLIENTS.iter().find(|client| client.names.contains(&name)) else {
            return Vec::new();
        };
        let words = call.arguments();
        let mut texts = option::values(words, client.options);
        if name.starts_with("sqlite") || matches!(name, "duckdb" | "bq" | "db2") {
            let own = words
                .iter()
                .filter(|word| !word.beginning().starts_with('-'));
            let own: Vec<Word> = own.cloned().collect();
            texts.push(joined(own.get(1..).unwrap_or_default()));
        }
        let given = !texts.is_empty();
        match &call.input {
            Stream::Text(text) => texts.push(Word::text(text.as_str())),
            Stream::Mixed(word) => texts.push(word.clone()),
            Stream::Downloaded | Stream::Decoded | Stream::Other | Stream::Paths(_) if !given => {
                self.unknown(Why::Sql, name, call.at);
            }
            _ => {}
        }
        let mut read = Read::default();
        for text in &texts {
            self.sql_text(text, client, call, &mut read);
        }
        for program in &read.programs {
            self.assembled(name, &Word::text(program.as_str()), call.at);
        }
        read.statements.sort_unstable();
        read.statements.dedup();
        read.statements
    }

    fn sql_text(&mut self, text: &Word, client: &Client, call: &Call, read: &mut Read) {
        if text.parts.len() == 1 && text.is_open() {
            return self.unknown(Why::Sql, &text.shown(), call.at);
        }
        let plain: String = text
            .parts
            .iter()
            .map(|part| match part {
                super::Part::Text(text) | super::Part::Glob(text) => text.as_str(),
                super::Part::Unknown { .. } => "pilothouse_value",
            })
            .collect();
        if plain.trim().is_empty() || !self.may_parse(&plain, call.at) {
            return;
        }
        let before = read.doubtful;
        statements(&plain, (client.dialect)().as_ref(), read);
        if read.doubtful && !before {
            self.unknown(Why::Sql, &text.shown(), call.at);
        }
    }
}

/// Reads statements one by one, so that one which does not parse hides no other.
fn statements(text: &str, dialect: &dyn Dialect, read: &mut Read) {
    // MySQL runs what is in such comments.
    let text = if text.contains("/*!") {
        let opened = text
            .split("/*!")
            .map(|piece| piece.trim_start_matches(|c: char| c.is_ascii_digit()));
        opened.collect::<Vec<_>>().join(" ").replace("*/", " ")
    } else {
        text.to_owned()
    };
    let text = without_meta(&text, read);
    let tokens = Tokenizer::new(dialect, &text)
        .with_unescape(true)
        .tokenize_with_location();
    let Ok(tokens) = tokens else {
        read.doubtful = true;
        return;
    };
    for one in tokens.split(|token| token.token == Token::SemiColon) {
        let is_blank =
            |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_) | Token::EOF);
        let start = one.iter().position(|token| !is_blank(token));
        if let Some(start) = start {
            statement(&one[start..], dialect, read);
        }
    }
}

/// Takes out the commands of the client itself: lines that begin with a backslash or a dot.
fn without_meta(text: &str, read: &mut Read) -> String {
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let shell = [r"\!", ".shell ", ".system ", "system ", "!!", "!"];
        let program = shell.iter().find_map(|start| trimmed.strip_prefix(start));
        if let Some(program) = program {
            read.programs.push(program.trim().to_owned());
        } else if trimmed.starts_with(['\\', '.']) {
            if let Some((_, program)) = trimmed.split_once('|') {
                read.programs.push(program.trim().to_owned());
            }
            if let Some((_, program)) = trimmed.split_once("program ") {
                read.programs
                    .push(program.trim().trim_matches('\'').to_owned());
            }
        } else {
            kept.push_str(line);
        }
    }
    kept
}

/// Statements that change nothing, however the rest of them reads.
const READING: &[Keyword] = &[
    Keyword::SHOW,
    Keyword::USE,
    Keyword::SET,
    Keyword::DESCRIBE,
    Keyword::DESC,
    Keyword::VACUUM,
    Keyword::ANALYZE,
    Keyword::CHECK,
    Keyword::PRAGMA,
    Keyword::BEGIN,
    Keyword::COMMIT,
    Keyword::ROLLBACK,
    Keyword::START,
    Keyword::REINDEX,
    Keyword::FLUSH,
    Keyword::OPTIMIZE,
    Keyword::LISTEN,
    Keyword::NOTIFY,
    Keyword::CLUSTER,
    Keyword::REFRESH,
    Keyword::COMMENT,
    Keyword::LOCK,
    Keyword::UNLOCK,
    Keyword::INSERT,
    Keyword::EXPLAIN,
    Keyword::SELECT,
];

/// Words by which statements change much.
const CHANGING: &[Keyword] = &[
    Keyword::DROP,
    Keyword::TRUNCATE,
    Keyword::DELETE,
    Keyword::UPDATE,
    Keyword::ALTER,
    Keyword::EXECUTE,
    Keyword::PROGRAM,
    Keyword::GRANT,
];

fn statement(tokens: &[TokenWithSpan], dialect: &dyn Dialect, read: &mut Read) {
    let keyword = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    let first = keyword(&tokens[0]).unwrap_or(Keyword::NoKeyword);
    let word = tokens[0].token.to_string().to_ascii_uppercase();
    let changes = || {
        tokens[1..]
            .iter()
            .filter_map(keyword)
            .any(|word| CHANGING.contains(&word))
    };
    if ["SHUTDOWN", "RESTART", "KILL", "PURGE"].contains(&word.as_str()) {
        return read.statements.push(SqlStatement::Server);
    }
    let mut parser = Parser::new(dialect)
        .with_recursion_limit(40)
        .with_tokens_with_locations(tokens.to_vec());
    let Ok(parsed) = parser.parse_statement() else {
        let global = tokens
            .iter()
            .any(|token| token.token.to_string().eq_ignore_ascii_case("global"));
        if first == Keyword::SET && global {
            read.statements.push(SqlStatement::Server);
        } else if !READING.contains(&first) || changes() {
            read.doubtful = true;
        }
        return;
    };
    classify(&parsed, read);
    // What is within these is not looked into.
    if matches!(first, Keyword::WITH | Keyword::EXPLAIN | Keyword::CREATE)
        && changes()
        && first != Keyword::CREATE
        || matches!(
            first,
            Keyword::DO | Keyword::PREPARE | Keyword::EXECUTE | Keyword::CALL
        )
    {
        read.doubtful = true;
    }
}

fn classify(statement: &Statement, read: &mut Read) {
    let found = match statement {
        Statement::Drop { object_type, .. } => dropped(*object_type),
        Statement::DropFunction(_)
        | Statement::DropProcedure { .. }
        | Statement::DropTrigger(_)
        | Statement::DropExtension(_) => SqlStatement::DropOther,
        Statement::Truncate(_) => SqlStatement::Truncate,
        Statement::Delete(delete)
            if holds_always(delete.selection.as_ref()) && delete.limit.is_none() =>
        {
            SqlStatement::DeleteAll
        }
        Statement::Update(update)
            if holds_always(update.selection.as_ref()) && update.limit.is_none() =>
        {
            SqlStatement::UpdateAll
        }
        Statement::AlterTable(alter) if alter.operations.iter().any(drops) => {
            SqlStatement::AlterDrop
        }
        Statement::Grant(_)
        | Statement::GrantRole(_)
        | Statement::CreateUser(_)
        | Statement::AlterUser(_)
        | Statement::CreateRole(_)
        | Statement::AlterRole { .. } => SqlStatement::Grant,
        Statement::Copy {
            target: CopyTarget::Program { command },
            ..
        } => {
            return read.programs.push(command.clone());
        }
        Statement::Set(set) if is_global(&set.to_string()) => SqlStatement::Server,
        Statement::Kill { .. } => SqlStatement::Server,
        _ => return,
    };
    read.statements.push(found);
}

fn dropped(what: ObjectType) -> SqlStatement {
    match what {
        ObjectType::Database => SqlStatement::DropDatabase,
        ObjectType::Schema => SqlStatement::DropSchema,
        ObjectType::Table | ObjectType::ForeignTable => SqlStatement::DropTable,
        ObjectType::Role | ObjectType::User | ObjectType::Group => SqlStatement::DropUser,
        _ => SqlStatement::DropOther,
    }
}

fn is_global(set: &str) -> bool {
    set.to_ascii_uppercase().starts_with("SET GLOBAL")
}

fn drops(operation: &AlterTableOperation) -> bool {
    let text = operation.to_string();
    text.starts_with("DROP ") || text.starts_with("TRUNCATE ")
}

/// Whether a condition is not there, or is true whatever the row.
fn holds_always(condition: Option<&Expr>) -> bool {
    match condition {
        None => true,
        Some(Expr::Value(value)) => match &value.value {
            Value::Boolean(holds) => *holds,
            Value::Number(number, _) => number.as_str() != "0",
            _ => false,
        },
        Some(Expr::Nested(inner)) => holds_always(Some(inner)),
        Some(Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq | BinaryOperator::GtEq | BinaryOperator::LtEq,
            right,
        }) => left == right,
        Some(Expr::BinaryOp {
            left,
            op: BinaryOperator::Or,
            right,
        }) => holds_always(Some(left)) || holds_always(Some(right)),
        Some(Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        }) => holds_always(Some(left)) && holds_always(Some(right)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<SqlStatement> {
        let mut read = Read::default();
        statements(text, &PostgreSqlDialect {}, &mut read);
        assert!(!read.doubtful, "{text}");
        read.statements
    }

    #[test]
    fn a_statement_is_what_it_does_and_not_how_it_is_written() {
        use SqlStatement as S;
        for (text, expected) in [
            ("dRoP /* x */ TaBLe t", vec![S::DropTable]),
            ("select 1; drop database d;", vec![S::DropDatabase]),
            ("DELETE FROM t", vec![S::DeleteAll]),
            ("DELETE FROM t WHERE 1=1", vec![S::DeleteAll]),
            ("DELETE FROM t WHERE (true) OR id = 3", vec![S::DeleteAll]),
            ("DELETE FROM t WHERE id = 3", vec![]),
            ("UPDATE t SET a = 1", vec![S::UpdateAll]),
            ("UPDATE t SET a = 1 WHERE id = 1", vec![]),
            ("SELECT 'DROP TABLE t'", vec![]),
            ("SELECT \"drop\" FROM t -- DELETE FROM t", vec![]),
            ("VACUUM ANALYZE t", vec![]),
            ("ALTER TABLE t DROP COLUMN c", vec![S::AlterDrop]),
            ("TRUNCATE t", vec![S::Truncate]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
