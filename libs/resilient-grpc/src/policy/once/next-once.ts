/** What a store keeps of a key. Times are milliseconds on the clock of the store. */
export type OnceRecord =
  /** A handler runs, or has died: its process renews the lease while it lives. */
  | {
      readonly kind: 'running';
      readonly hash: string;
      readonly owner: string;
      readonly leaseEndsAt: number;
      readonly expiresAt: number;
    }
  /** The handler has ended. A store that needs room may have dropped the end (`undefined`). */
  | { readonly kind: 'done'; readonly hash: string; readonly end: Uint8Array | undefined; readonly expiresAt: number }
  /** The lease ended before the handler: nobody can know what it did. */
  | { readonly kind: 'in-doubt'; readonly hash: string; readonly owner: string; readonly expiresAt: number }
  /** A caller has asked, found nothing, and made that final. */
  | { readonly kind: 'closed'; readonly expiresAt: number };

export type OnceEvent =
  /**
   * A request with the key wants to run. `hash` is that of the request, `owner` the run that would begin. It must not begin after `before`,
   * nor in another store than that of `scope`; a request of a caller that does not know its store has no such limits (`Infinity`,
   * `undefined`).
   */
  | {
      readonly type: 'attempt';
      readonly hash: string;
      readonly owner: string;
      readonly before: number;
      readonly scope: string | undefined;
    }
  /** The handler still runs. */
  | { readonly type: 'renew'; readonly owner: string }
  /** The transaction of the handler commits, with its end. For a store that `commits`. */
  | { readonly type: 'commit'; readonly owner: string; readonly end: Uint8Array }
  | { readonly type: 'end'; readonly owner: string; readonly end: Uint8Array }
  /** The handler has ended, or was never called, and has done nothing. */
  | { readonly type: 'release'; readonly owner: string }
  /** A caller asks what became of the key; with `close`, the key must not begin afterwards. */
  | { readonly type: 'ask'; readonly close: boolean }
  /** An operator, who has looked, says what became of a key in doubt: it ended, or it never began. */
  | { readonly type: 'settle'; readonly end: Uint8Array | undefined };

/** What follows from an event. */
export type OnceReply =
  /** Run the handler. */
  | { readonly is: 'begin' }
  /** The handler runs. `own` is true if the owner is that of the attempt, whose recording it has not learnt. */
  | { readonly is: 'running'; readonly own: boolean }
  /** The request whose hash is `hash` has ended. */
  | { readonly is: 'done'; readonly hash: string; readonly end: Uint8Array }
  | { readonly is: 'in-doubt' }
  /** The key belongs to another request, whose hash is `hash`. */
  | { readonly is: 'mismatch'; readonly hash: string }
  /** The attempt came too late to begin, and no other one with its key has begun. */
  | { readonly is: 'late' }
  /** The attempt names another store, or this one before it lost records. */
  | { readonly is: 'elsewhere' }
  | { readonly is: 'unknown' }
  | { readonly is: 'closed' }
  /** The event is recorded. */
  | { readonly is: 'recorded' }
  /** The event came from a run that no longer owns the key, and nothing is known of the key. */
  | { readonly is: 'lost' };

/** Durations in milliseconds. */
export interface OnceLimits {
  /** Time for which a run owns a key after it has begun, or renewed its lease. */
  readonly leaseMs: number;
  /** Time for which a record is kept after its last change. */
  readonly ttlMs: number;
}

export interface OnceTimes extends OnceLimits {
  /** Time of the store. */
  readonly now: number;
  /**
   * True if the end is written in the transaction of the handler, so that a process that has lost its lease cannot commit: another one may
   * then begin.
   */
  readonly commits: boolean;
  /** Identifies the store and its records. It changes when the store may have lost records. */
  readonly scope: string;
}

export interface OnceStep {
  /** The record after the event; `undefined` if there is none. The same object if it does not change. */
  readonly record: OnceRecord | undefined;
  readonly reply: OnceReply;
}

/** Time by which an attempt may begin later than half of `ttlMs` from now, in milliseconds: clocks are set by small steps. */
export const MAX_SKEW_MS = 1_000;

/** True if nothing is known of the key any more. A record outlives its lease, so that what its handler did stays in doubt until then. */
export function isExpired(record: OnceRecord, now: number): boolean {
  return now >= record.expiresAt && (record.kind !== 'running' || now >= record.leaseEndsAt);
}

/**
 * Decides what becomes of a key: the only place that decides whether a handler may run. A key begins once; after that, only its owner or an
 * operator ends it. Time alone never makes it begin again, except after `ttlMs` without a change.
 */
export function nextOnce(given: OnceRecord | undefined, event: OnceEvent, times: OnceTimes): OnceStep {
  const { now, ttlMs } = times;
  const record = given === undefined || isExpired(given, now) ? undefined : doubted(given, times);
  const expiresAt = now + ttlMs;
  const leaseEndsAt = now + times.leaseMs;
  const replied = (reply: OnceReply): OnceStep => ({ record, reply });
  switch (event.type) {
    case 'attempt': {
      const { hash, owner, before, scope } = event;
      if (scope !== undefined && scope !== times.scope) return replied({ is: 'elsewhere' });
      // The clock of the store was set back since the caller has learnt it.
      if (before !== Infinity && before > now + ttlMs / 2 + MAX_SKEW_MS) return replied({ is: 'elsewhere' });
      // `before` is at most half of ttlMs after the key was made, so that until then, an earlier end would still be kept.
      const isForgotten = now >= before + ttlMs / 2;
      if (isForgotten && (record === undefined || record.kind === 'closed')) return replied({ is: 'in-doubt' });
      const running: OnceRecord = { kind: 'running', hash, owner, leaseEndsAt, expiresAt };
      const begun: OnceStep = { record: running, reply: { is: 'begin' } };
      if (record === undefined) return now > before ? replied({ is: 'late' }) : begun;
      if (record.kind === 'closed') return replied({ is: 'closed' });
      if (record.hash !== hash) return replied({ is: 'mismatch', hash: record.hash });
      if (record.kind === 'in-doubt' && times.commits) return begun;
      return replied(stateOf(record, owner));
    }
    case 'ask':
      // In a store that commits, what is in doubt has not been done, and once closed, its handler cannot commit any more.
      if (record !== undefined && !(times.commits && record.kind === 'in-doubt'))
        return replied(stateOf(record, undefined));
      return event.close
        ? { record: { kind: 'closed', expiresAt }, reply: { is: 'closed' } }
        : replied({ is: 'unknown' });
    case 'renew':
      if (!isOwned(record, event.owner)) return replied(notOwned(record));
      return { record: { ...record, kind: 'running', leaseEndsAt, expiresAt }, reply: { is: 'recorded' } };
    case 'commit':
    case 'end': {
      if (!isOwned(record, event.owner)) return replied(notOwned(record));
      const { hash } = record;
      return { record: { kind: 'done', hash, end: event.end, expiresAt }, reply: { is: 'recorded' } };
    }
    case 'release':
      return isOwned(record, event.owner)
        ? { record: undefined, reply: { is: 'recorded' } }
        : replied(notOwned(record));
    case 'settle':
      if (record === undefined || record.kind === 'closed') return replied({ is: 'unknown' });
      if (record.kind !== 'in-doubt' && (record.kind === 'running' || record.end !== undefined))
        return replied(stateOf(record, undefined));
      return {
        record: event.end === undefined ? undefined : { kind: 'done', hash: record.hash, end: event.end, expiresAt },
        reply: { is: 'recorded' },
      };
  }
}

type Owned = Extract<OnceRecord, { owner: string }>;

/** True if the handler of `owner` is the only one that can have run. The end of one that was frozen beyond its lease ends the doubt. */
function isOwned(record: OnceRecord | undefined, owner: string): record is Owned {
  return (record?.kind === 'running' || record?.kind === 'in-doubt') && record.owner === owner;
}

function notOwned(record: OnceRecord | undefined): OnceReply {
  return record === undefined ? { is: 'lost' } : stateOf(record, undefined);
}

function doubted(record: OnceRecord, { now, ttlMs }: OnceTimes): OnceRecord {
  if (record.kind !== 'running' || now < record.leaseEndsAt) return record;
  const { hash, owner } = record;
  return { kind: 'in-doubt', hash, owner, expiresAt: now + ttlMs };
}

function stateOf(record: OnceRecord, owner: string | undefined): OnceReply {
  switch (record.kind) {
    case 'running':
      return { is: 'running', own: record.owner === owner };
    case 'done':
      return record.end === undefined ? { is: 'in-doubt' } : { is: 'done', hash: record.hash, end: record.end };
    case 'in-doubt':
      return { is: 'in-doubt' };
    case 'closed':
      return { is: 'closed' };
  }
}
