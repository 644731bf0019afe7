/** Compares two cursors: returns a negative number, 0, or a positive number; NaN if they cannot be compared. */
export type CompareCursors<C> = (a: C, b: C) => number;

/** Position of a message relative to the messages already received. Messages that are 'newer' or 'same' must be delivered. */
export type CursorPlace =
  /** After all messages that were already received. */
  | 'newer'
  /** Same cursor as the last message or heartbeat; several messages may share a cursor. */
  | 'same'
  /** Already received; a resumed call may start with such messages. */
  | 'overlap'
  /** Already received, after `MAX_OVERLAP` other such messages at the start of the call. */
  | 'too-much-overlap'
  /** Before a message or heartbeat that the same call delivered. */
  | 'went-back'
  | 'not-comparable';

/**
 * Maximum number of already received messages that a server may repeat at the start of a call. Beyond that, the server is assumed to ignore
 * the cursor.
 */
export const MAX_OVERLAP = 10_000;

/**
 * Compares numbers and bigints, including a number with a bigint. Returns NaN for other values, and for numbers that are unsafe integers.
 */
export function compareNumbers(a: unknown, b: unknown): number {
  if (!isNumeric(a) || !isNumeric(b)) return NaN;
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

/** True if `compareNumbers` can order the value. */
export function isNumeric(value: unknown): value is number | bigint {
  return typeof value === 'bigint' || (typeof value === 'number' && !Number.isNaN(value) && !isRounded(value));
}

/**
 * True if the value is an integer that may have been rounded, such as a 64-bit id read as a number. The next id could round to the same
 * value. After a resume, its message would then be dropped as already received.
 */
export function isRounded(value: unknown): value is number {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** Tracks the progress of a resumable stream by the cursors of its messages. */
export class CursorTrack<C> {
  /** Cursor after which the next call starts. */
  cursor: C;
  /** True if the current call has received a newer cursor. */
  progressed = false;
  /**
   * True if `cursor` is that of a received message or heartbeat. The seed is only the starting point; the first message may have the same
   * cursor.
   */
  private hasCursor = false;
  /** True if the current call has passed the messages that were already received. */
  private hasPassedOverlap = false;
  private overlap = 0;

  constructor(
    seed: C,
    private readonly compare: CompareCursors<C>,
  ) {
    this.cursor = seed;
  }

  callBegan(): void {
    this.hasPassedOverlap = false;
    this.progressed = false;
    this.overlap = 0;
  }

  /** Records a message and returns its position. If the message is newer, the next call starts after its cursor. */
  take(cursor: C): CursorPlace {
    // Without a received cursor, `cursor` is compared with itself, because the seed of a stream that starts from the beginning may not be
    // comparable.
    const order = this.order(cursor, this.hasCursor ? this.cursor : cursor);
    if (order === undefined) return 'not-comparable';
    if (!this.hasCursor || order > 0) {
      this.advance(cursor);
      return 'newer';
    }
    if (this.hasPassedOverlap) return order === 0 ? 'same' : 'went-back';
    this.overlap += 1;
    return this.overlap > MAX_OVERLAP ? 'too-much-overlap' : 'overlap';
  }

  /** Records a heartbeat, a message that carries only the server's cursor. Ignored if the cursor is not newer. */
  heartbeat(cursor: C): void {
    // Any cursor is newer than an undefined or null seed.
    const isFirst = isNothing(this.cursor);
    const order = this.order(cursor, isFirst ? cursor : this.cursor);
    if (order !== undefined && (isFirst || order > 0)) this.advance(cursor);
  }

  private advance(cursor: C): void {
    this.cursor = cursor;
    this.hasCursor = true;
    this.hasPassedOverlap = true;
    this.progressed = true;
  }

  private order(a: C, b: C): number | undefined {
    // Checked before the comparison, because many compare functions return 0 for undefined and null.
    if (isNothing(a) || Number.isNaN(a)) return undefined;
    const order = this.compare(a, b);
    return typeof order === 'number' && !Number.isNaN(order) ? order : undefined;
  }
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null;
}
