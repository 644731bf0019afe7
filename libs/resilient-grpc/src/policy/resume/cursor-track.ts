/** Order of two cursors: below 0, 0, above 0; NaN where they cannot be compared. */
export type CompareCursors<C> = (a: C, b: C) => number;

/** Where a message stands. The first two are to be handed over. */
export type CursorPlace =
  /** Beyond all that was had. */
  | 'newer'
  /** Beside the last one: several messages may have one cursor. */
  | 'same'
  /** Had already: a call that was resumed may begin with it. */
  | 'overlap'
  | 'too-much-overlap'
  /** Before one that the same call has brought. */
  | 'went-back'
  | 'not-comparable';

/** Messages that a call may begin with and that were had already; a server that gives more does not heed the cursor. */
export const MAX_OVERLAP = 10_000;

/** Numbers and bigints, also mixed; NaN for all else, and for numbers that may stand for others as well. */
export function compareNumbers(a: unknown, b: unknown): number {
  if (!isNumeric(a) || !isNumeric(b)) return NaN;
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

/** Whether `compareNumbers` can order it. */
export function isNumeric(value: unknown): value is number | bigint {
  return typeof value === 'bigint' || (typeof value === 'number' && !Number.isNaN(value) && !isRounded(value));
}

/**
 * A number so large that its neighbours are the same number: ids of 64 bits that were read as numbers. The next message would
 * look as if it had been had, and be dropped.
 */
export function isRounded(value: unknown): value is number {
  return Number.isInteger(value) && !Number.isSafeInteger(value);
}

/** How far a stream of several calls has come, by the cursors of its messages. */
export class CursorTrack<C> {
  private last: C;
  /** `last` is the cursor of something that came. The seed is only where to begin: the first message may have it too. */
  private hasCome = false;
  private isBeyond = false;
  private advanced = false;
  private overlap = 0;

  constructor(
    seed: C,
    private readonly compare: CompareCursors<C>,
  ) {
    this.last = seed;
  }

  /** Where the next call begins. */
  get cursor(): C {
    return this.last;
  }

  /** The call that runs has brought something newer. */
  get progressed(): boolean {
    return this.advanced;
  }

  callBegan(): void {
    this.isBeyond = false;
    this.advanced = false;
    this.overlap = 0;
  }

  /** A message came. Where it is to be handed over, the next call begins from it. */
  take(cursor: C): CursorPlace {
    // The seed of a stream that begins at the beginning need not be comparable to anything.
    const order = this.order(cursor, this.hasCome ? this.last : cursor);
    if (order === undefined) return 'not-comparable';
    if (!this.hasCome || order > 0) {
      this.advance(cursor);
      return 'newer';
    }
    if (this.isBeyond) return order === 0 ? 'same' : 'went-back';
    this.overlap += 1;
    return this.overlap > MAX_OVERLAP ? 'too-much-overlap' : 'overlap';
  }

  /** A message came that only tells how far the server is: where that is nothing newer, it tells nothing. */
  beat(cursor: C): void {
    // Anything is beyond a seed that is nothing.
    const isFirst = isNothing(this.last);
    const order = this.order(cursor, isFirst ? cursor : this.last);
    if (order !== undefined && (isFirst || order > 0)) this.advance(cursor);
  }

  private advance(cursor: C): void {
    this.last = cursor;
    this.hasCome = true;
    this.isBeyond = true;
    this.advanced = true;
  }

  private order(a: C, b: C): number | undefined {
    // Nothing, in the place of a cursor, is equal to everything for many a compare function.
    if (isNothing(a) || Number.isNaN(a)) return undefined;
    const order = this.compare(a, b);
    return typeof order === 'number' && !Number.isNaN(order) ? order : undefined;
  }
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null;
}
