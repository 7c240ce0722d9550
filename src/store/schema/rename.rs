//! The files of `migrations/` for another schema than the one that they name.

use std::borrow::Cow;

/// The schema that the files name.
pub(super) const WRITTEN: &str = "public";

/// The schema of what only the server calls, with the list of what was applied.
pub(super) const OWN: &str = "lastseen";

/// The SQL with the schema `from` in the place of `to`: where something is qualified by it (`public.sits`), in
/// `schema public` and in `'public'`. The word alone is left: PUBLIC is also a role.
pub(super) fn rename<'a>(sql: Cow<'a, str>, from: &str, to: &str) -> Cow<'a, str> {
    if from == to {
        return sql;
    }
    let mut renamed = String::with_capacity(sql.len());
    let mut rest = &*sql;
    while let Some(at) = rest.find(from) {
        let (before, behind) = (&rest[..at], &rest[at + from.len()..]);
        renamed.push_str(before);
        let last = renamed.chars().next_back().unwrap_or(' ');
        let next = behind.chars().next().unwrap_or(' ');
        let of_a_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '.');
        match () {
            () if of_a_word(last) => renamed.push_str(from),
            () if last == '\'' && next == '\'' => renamed.push_str(to),
            () if next == '.' && behind[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '_') => {
                quote(&mut renamed, to);
            }
            // `'public.' || name`, which is to be read as a name.
            () if last == '\'' && behind.starts_with(".'") => quote(&mut renamed, to),
            () if !of_a_word(next) && renamed.trim_end().ends_with(" schema") => quote(&mut renamed, to),
            () => renamed.push_str(from),
        }
        rest = behind;
    }
    renamed.push_str(rest);
    Cow::Owned(renamed)
}

fn quote(text: &mut String, name: &str) {
    text.extend(["\"", name, "\""]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_renamed_and_a_role_of_its_name_is_not() {
        for (written, renamed) in [
            ("create table public.sits (id int)", "create table \"b\".sits (id int)"),
            ("grant usage on schema public to anon", "grant usage on schema \"b\" to anon"),
            ("revoke all on public.sits from public, anon", "revoke all on \"b\".sits from public, anon"),
            ("revoke all on function lastseen.f from public;", "revoke all on function lastseen.f from public;"),
            ("where n = 'public'::regnamespace", "where n = 'b'::regnamespace"),
            ("to_regclass('public.' || name)", "to_regclass('\"b\".' || name)"),
            ("(public.f(x),public.g())", "(\"b\".f(x),\"b\".g())"),
            ("republic.x publics.x a.public.x", "republic.x publics.x a.public.x"),
            ("open to the public.", "open to the public."),
        ] {
            assert_eq!(rename(Cow::Borrowed(written), "public", "b"), renamed);
            assert_eq!(rename(Cow::Borrowed(written), "public", "public"), written);
        }
    }
}
