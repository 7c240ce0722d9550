//! Files of tables that were edited after databases had applied them, which is done only where new databases cannot
//! have what the file demanded. What it makes must stay the same.

/// The SHA-256 of what such a file was.
const EARLIER: [(&str, &str); 2] = [
    // It demanded BYPASSRLS for lastseen_definer, which only a superuser can give.
    ("0001_roles.sql", "d83cfd8fa9fdf7cdde0d050a23d1656a0520d63b8ac9c8c0d5d86948f1606597"),
    // It demanded the use of the schema `auth` for roles that never ask for it.
    ("0002_auth.sql", "63172235667b59ef669d64501c425e7c396cdaf7d1c5197d25f7d9117dc0221f"),
];

/// Whether the file had the content with this hash before.
pub(super) fn was(file: &str, sha256: &[u8]) -> bool {
    let hash: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    EARLIER.contains(&(file, hash.as_str()))
}
