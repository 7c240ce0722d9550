// What a name may be, as the server has it (`src/protocol/name.rs`).

const LONGEST = 80;
const VISIBLE = /[^\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\u2800\ufff9-\ufffb\u{13441}\u{13442}\u{16fe4}\u{1d159}]/u;

/** What is wrong with a name, as a sentence; nothing where it can be had. */
export const nameProblem = (name) =>
  !name ? 'Please give a name.'
  : [...name].length > LONGEST ? `A name has at most ${LONGEST} characters.`
  : /\p{Cc}/u.test(name) ? 'A name has no control characters.'
  : !VISIBLE.test(name) ? 'A name has a character that can be seen.'
  : '';
