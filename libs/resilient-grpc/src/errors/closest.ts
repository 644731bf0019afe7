/** Maximum length of a word to compare, in characters. A longer word is not a typo, and comparing it would be slow. */
const MAX_WORD_LENGTH = 200;
const MIN_ABBREVIATION_LENGTH = 3;
/** Distance of an abbreviation, such as 'proto' for 'protoPath': more than one wrong letter, less than two. */
const ABBREVIATION_DISTANCE = 1.5;
/**
 * Minimum length in characters of a word for which an extra letter or a swap of two letters counts as a misspelling. Two shorter words
 * that differ in this way are often both correct, such as 'form' and 'from'.
 */
const MIN_MISSPELLED_LENGTH = 6;

/** Returns the name in `known` that is closest to the misspelled `word`; `undefined` if none is close. */
export function closest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > MAX_WORD_LENGTH) return undefined;
  const plain = simplify(word);
  let best: string | undefined;
  let bestDistance = Math.min(word.length, Math.max(3, Math.floor(word.length / 3) + 1));
  for (const candidate of known) {
    const other = simplify(candidate);
    if (plain.length >= MIN_ABBREVIATION_LENGTH && other.startsWith(plain) && bestDistance > ABBREVIATION_DISTANCE) {
      best = candidate;
      bestDistance = ABBREVIATION_DISTANCE;
    }
    if (Math.abs(other.length - plain.length) >= bestDistance) continue;
    const distance = editDistance(plain, other);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * Returns the name in `known` that `word` almost certainly misspells: they differ only in case and separators, by one extra letter, or by a
 * swap of two letters. Returns `undefined` for a replaced letter, a digit, or a plural 's', because `word` is then probably another name.
 */
export function misspelled(word: string, known: Iterable<string>): string | undefined {
  const plain = simplify(word);
  let best: string | undefined;
  for (const candidate of known) {
    const other = simplify(candidate);
    if (plain === other) return candidate;
    if (plain.length >= MIN_MISSPELLED_LENGTH && isTypo(plain, other) && stem(plain) !== stem(other))
      best ??= candidate;
  }
  return best;
}

/** True if two words differ by one extra letter or a swap of two letters. */
function isTypo(a: string, b: string): boolean {
  return editDistance(a, b) === 1 && (a.length !== b.length || sorted(a) === sorted(b));
}

function sorted(word: string): string {
  return Array.from(word).sort().join('');
}

function stem(word: string): string {
  return word.replace(/\d|s$/g, '');
}

function simplify(word: string): string {
  return word.toLowerCase().replace(/[_\-. ]/g, '');
}

/** Restricted Damerau–Levenshtein distance: minimum number of insertions, deletions, replacements, and swaps of adjacent characters. */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwapped ? (beforePrevious[j - 2] ?? 0) + 1 : Infinity;
      row.push(Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitute, swap));
    }
    beforePrevious = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}
