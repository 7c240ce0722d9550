-- Names that users write in SQL: by the rule of the server (`src/protocol/name.rs`).

create or replace function lastseen.can_be_seen(said text) returns boolean
language sql immutable strict set search_path = ''
as $$
  -- White space, control characters, what Unicode calls ignorable, and what is drawn as nothing all the same.
  select said ~ ('[^\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000'
    '\u0001-\u001f\u007f-\u009f'
    '\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e'
    '\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8'
    '\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff'
    '\u2800\ufff9-\ufffb\U00013441\U00013442\U00016fe4\U0001d159]')
$$;
comment on function lastseen.can_be_seen is 'Whether a text has a character that is drawn.';

create or replace function lastseen.display_name(said text) returns text
language plpgsql immutable set search_path = ''
as $$
declare
  white constant text := '[\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+';
  -- Without embeddings, overrides and isolates of directions, which turn the text beside a name.
  kept  constant text := regexp_replace(
    regexp_replace(said, '[\u202a-\u202e\u2066-\u2069]', '', 'g'), format('^%1$s|%1$s$', white), '', 'g');
begin
  if kept ~ '[\u0001-\u001f\u007f-\u009f]' then
    raise check_violation using message = 'a name must not hold control characters';
  elsif not lastseen.can_be_seen(kept) then
    raise check_violation using message = 'a name must have a character that can be seen';
  end if;
  return kept;
end
$$;
comment on function lastseen.display_name is
  'A name that a user wrote, trimmed and without what turns the text around it; an error where nothing of it can be seen. Null stays null.';

revoke all on function lastseen.can_be_seen, lastseen.display_name
from public, anon, authenticated, service_role, lastseen_service;
grant execute on function lastseen.can_be_seen, lastseen.display_name to authenticated, lastseen_service, service_role;
