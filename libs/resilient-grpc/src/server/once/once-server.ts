import { hash as digest, randomUUID } from 'node:crypto';
import { Metadata, type MetadataValue } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import type { GrpcServerEvent } from '../../call/server-event.js';
import { messageTypeOf, type MessageType } from '../../messages/message-type.js';
import { canonicalMessage } from '../../messages/canonical-message.js';
import type { Files } from '../../messages/file-descriptors.js';
import type { OnceEvent, OnceReply } from '../../policy/once/next-once.js';
import {
  ASKS_SCOPE,
  ONCE_ASK,
  ONCE_BEFORE,
  ONCE_KEY,
  ONCE_MARK,
  ONCE_NOW,
  ONCE_SCOPE,
  ONCE_TTL,
  isOnceKey,
  type OnceMark,
} from '../../policy/once/once-fields.js';
import { StatusCode } from '../../status/status-code.js';
import type { Random } from '../../time/random.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { StatusLike } from '../calls/wire-call.js';
import type { ResolvedOnce } from '../server-options.js';
import { encodeEnd, type KeptEnd } from './kept-end.js';
import { OnceRun, type RunOutcome } from './once-run.js';
import type { Awaitable, OnceIdentity } from './once-store.js';
import { isThenable } from '../../call/iterator-source.js';
import type { OnceRequest } from './once-request.js';

/**
 * Time for which a run owns a key without renewing it, in milliseconds. It renews three times as often. Shorter in a store that commits, where
 * a run that is taken for dead cannot commit, and callers wait for the end of the lease.
 */
const [LEASE_MS, LEASE_OF_COMMITS_MS] = [15_000, 3_000];
/** Maximum time for which the end of the server waits for the ends of handlers to be recorded, in milliseconds. */
const CLOSE_MS = 1_000;
/** Pause before an end that could not be recorded is recorded again, in milliseconds. */
const RECORD_AGAIN_MS = 1_000;
/** Time after which a store that has not answered counts as away, in milliseconds. */
const STORE_TIMEOUT_MS = 10_000;
/** Pause before a store that is away is asked again, in milliseconds. */
const ASK_AGAIN_MS = 250;
/** Maximum number of owners that are kept because their attempts to begin have failed. */
const MAX_UNLEARNT = 1_000;
/** Lengths of the ids of records (base64url) and of the hashes of requests (hex): 128 bits of a SHA-256. */
const [ID_CHARACTERS, HASH_CHARACTERS] = [22, 32];
const RANDOM_KEY = /^[\da-f]{32}$/;

const NO_BYTES = new Uint8Array();

export type OnceOutcome = Extract<GrpcServerEvent, { type: 'once' }>['outcome'];

/** Runs the handlers of keys once, for one server. */
export class OnceServer {
  /** Keys whose handlers run in this process, or whose records are read, by id. */
  readonly runs = new Map<string, OnceRun>();
  /** Start of the owners of this process. */
  private readonly process = randomUUID();
  private begins = 0;
  /** Owners whose attempts to begin have failed, by id: the store may have recorded them, and nothing has run. */
  private readonly unlearnt = new Map<string, string>();
  private identity: OnceIdentity = { scope: '', now: 0 };
  private identifiedAt = 0;
  private renewal: Timer | undefined;
  /** Becomes true when the store is there again; `undefined` while nobody waits for it. */
  private back: Promise<boolean> | undefined;
  private waitingForStore = 0;
  private readonly types = new Map<string, MessageType | undefined>();

  constructor(
    readonly options: ResolvedOnce,
    readonly clock: Clock,
    private readonly events: EventHub<GrpcServerEvent>,
    readonly random: Random,
  ) {}

  /** @throws the error of the store */
  async open(): Promise<void> {
    this.identity = await this.inTime(Promise.resolve(this.options.store.identify()));
    this.identifiedAt = this.clock.now();
  }

  /** Waits for the ends that are being kept. */
  async close(): Promise<void> {
    this.renewal?.clear();
    const recorded = Promise.all([...this.runs.values()].map((run) => run.recorded ?? Promise.resolve()));
    await Promise.race([recorded, new Promise<void>((resolve) => this.clock.setTimer(resolve, CLOSE_MS))]);
  }

  /** Returns what a request says, or the status with which it is refused before anything has run. */
  read(metadata: Metadata, bytes: Uint8Array | undefined): OnceRequest | StatusLike {
    const key = keyIn(metadata.get(ONCE_KEY));
    if (key === undefined) return invalid(`${ONCE_KEY}: expected one key of 1 to 255 characters from ! to ~`);
    const before = Number(metadata.get(ONCE_BEFORE)[0] ?? Infinity);
    if (Number.isNaN(before)) return invalid(`${ONCE_BEFORE}: expected milliseconds since 1970`);
    const scope = metadata.get(ONCE_SCOPE)[0]?.toString();
    const asks = metadata.get(ONCE_ASK)[0]?.toString();
    if (asks !== undefined && asks !== 'outcome' && asks !== 'close')
      return invalid(`${ONCE_ASK}: expected 'outcome' or 'close'`);
    return { key, scope, before, asks, bytes };
  }

  /**
   * True if a request expects another store than this server has. Asks the store if it seems so, because another server may have learnt first
   * that it has restarted.
   */
  isElsewhere({ scope, asks }: OnceRequest): Awaitable<boolean> {
    // A question may come from a caller that knows nothing of the store any more.
    if (scope === undefined || scope === this.identity.scope) return false;
    return (scope === ASKS_SCOPE && asks === undefined) || this.open().then(() => scope !== this.identity.scope);
  }

  elsewhere(): StatusLike {
    const { scope, now } = this.identity;
    const details = 'The request names no store of keys, or another one than this server has; nothing has run';
    const status = marked({ code: StatusCode.FAILED_PRECONDITION, details }, 'elsewhere');
    status.metadata.set(ONCE_SCOPE, scope);
    status.metadata.set(ONCE_NOW, String(Math.trunc(now + this.clock.now() - this.identifiedAt)));
    status.metadata.set(ONCE_TTL, String(this.options.ttlMs));
    return status;
  }

  /** Returns the id of the record of a key, which belongs to a method and to what `scopeBy` returns. */
  idOf(metadata: Metadata, path: string, key: string): string {
    const scope: unknown = this.options.scopeBy(metadata);
    if (typeof scope !== 'string') throw new TypeError(`once.scopeBy: expected a string, got ${typeof scope}`);
    return this.idIn(scope, path, key);
  }

  private idIn(scope: string, path: string, key: string): string {
    // With their lengths, so that different parts never have the same text.
    const text = `${String(scope.length)} ${String(path.length)} ${scope}${path}${key}`;
    return digest('sha256', text, 'base64url').slice(0, ID_CHARACTERS);
  }

  /** Returns the hash of a request. */
  hashOf(path: string, { bytes }: OnceRequest, message: unknown): string {
    const { sameRequest } = this.options;
    if (sameRequest === undefined && bytes === undefined)
      throw new TypeError(`${path}: an interceptor of grpc-js has replaced the request; set once.sameRequest`);
    // Safe cast: the requests of a method are messages.
    const content = sameRequest?.(message as object) ?? comparable(bytes ?? NO_BYTES, this.types.get(path));
    return digest('sha256', content, 'hex').slice(0, HASH_CHARACTERS);
  }

  /** Adds the method with `path` to those that run once. Without `files`, equal requests must have equal bytes. */
  add(path: string, files: Files | undefined): void {
    this.types.set(path, files && messageTypeOf(path, files, 'request'));
  }

  get paths(): readonly string[] {
    return [...this.types.keys()];
  }

  /** Asks the store whether the handler of a key may run. */
  begin({ id, hash, owner }: OnceRun, { scope, before }: OnceRequest): Awaitable<OnceReply> {
    const reply = this.apply(id, { type: 'attempt', hash, owner, before, scope });
    return isThenable(reply) ? reply.then((one) => this.begun(one)) : this.begun(reply);
  }

  /** The store could not be asked whether a run may begin. It may have recorded it; nothing has run. */
  beginFailed(run: OnceRun): void {
    const { unlearnt } = this;
    unlearnt.set(run.id, run.owner);
    // A forgotten one is in doubt when its lease is over.
    for (const oldest of unlearnt.keys()) if (unlearnt.size > MAX_UNLEARNT) unlearnt.delete(oldest);
    this.closeRun(run);
  }

  private begun(reply: OnceReply): Awaitable<OnceReply> {
    // The clock of the store may have been set, and clients learn it anew.
    if (reply.is === 'elsewhere' || reply.is === 'late' || reply.is === 'in-doubt')
      return this.open().then(() => reply);
    // The store has recorded an earlier attempt of this process, which has not learnt that it did, and has run nothing.
    return reply.is === 'running' && reply.own ? { is: 'begin' } : reply;
  }

  /** Adds a key whose record is being read. No other request of this process reads it until the run is over. */
  newRun(id: string, hash: string): OnceRun {
    const owner = this.unlearnt.get(id) ?? `${this.process} ${String((this.begins += 1))}`;
    this.unlearnt.delete(id);
    const run = new OnceRun(id, hash, owner);
    this.runs.set(id, run);
    this.renewLater();
    return run;
  }

  /** Nothing of the key is left in this process. */
  closeRun(run: OnceRun, outcome?: RunOutcome): void {
    this.runs.delete(run.id);
    run.close(outcome);
  }

  apply(id: string, event: OnceEvent): Awaitable<OnceReply> {
    const { store, ttlMs } = this.options;
    const reply = store.apply(id, event, { leaseMs: this.leaseMs, ttlMs });
    return isThenable(reply) ? this.inTime(reply) : reply;
  }

  /** Rejects if the store does not answer: a connection that is lost without a word would hold the key forever. */
  private async inTime<T>(answer: Promise<T>): Promise<T> {
    let timer: Timer | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = this.clock.setTimer(() => {
        reject(new Error(`it has not answered for ${String(STORE_TIMEOUT_MS / 1_000)} s`));
      }, STORE_TIMEOUT_MS);
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      timer?.clear();
    }
  }

  /** Waits until the store, which is away, is there again. Returns false if it is not at `until`, in monotonic milliseconds. */
  async storeIsBack(until: number): Promise<boolean> {
    let timer: Timer | undefined;
    const late = new Promise<false>((resolve) => {
      timer = this.clock.setTimer(() => {
        resolve(false);
      }, until - this.clock.now());
    });
    this.waitingForStore += 1;
    this.back ??= this.askForStore();
    try {
      return await Promise.race([this.back, late]);
    } finally {
      this.waitingForStore -= 1;
      timer?.clear();
    }
  }

  /** Asks for all requests that wait, until the store answers or none waits any longer. */
  private async askForStore(): Promise<boolean> {
    let isBack = false;
    do {
      await new Promise<void>((resolve) => this.clock.setTimer(resolve, ASK_AGAIN_MS));
      isBack = await this.open().then(
        () => true,
        () => false,
      );
    } while (!isBack && this.waitingForStore > 0);
    this.back = undefined;
    return isBack;
  }

  /**
   * Records the end of a handler, or with `undefined`, that it has done nothing. Tries again until another process may have taken this one for
   * dead; returns `undefined` then.
   */
  record(run: OnceRun, end: KeptEnd | undefined): Awaitable<OnceReply | undefined> {
    const { owner } = run;
    run.ended();
    // A store that commits has the end, or nothing was done.
    const isFree = end === undefined || (this.commits && end.code !== StatusCode.OK);
    const event: OnceEvent = isFree ? { type: 'release', owner } : { type: 'end', owner, end: encodeEnd(end) };
    let reply: Awaitable<OnceReply>;
    try {
      reply = this.apply(run.id, event);
    } catch {
      return (run.recorded = this.recordAgain(run.id, event));
    }
    if (isThenable(reply)) return (run.recorded = reply.catch(() => this.recordAgain(run.id, event)));
    return reply;
  }

  private async recordAgain(id: string, event: OnceEvent): Promise<OnceReply | undefined> {
    const { clock } = this;
    for (const until = clock.now() + this.leaseMs; clock.now() < until;) {
      await new Promise<void>((resolve) => clock.setTimer(resolve, RECORD_AGAIN_MS, true));
      try {
        return await this.apply(id, event);
      } catch {
        // The store is still away.
      }
    }
    return undefined;
  }

  private get leaseMs(): number {
    return this.commits ? LEASE_OF_COMMITS_MS : LEASE_MS;
  }

  get commits(): boolean {
    return this.options.store.commits === true;
  }

  /** Writes the end of a handler in its own transaction. Does nothing in a store without them. */
  async commit(client: unknown, { id, owner }: OnceRun, end: KeptEnd): Promise<void> {
    const { store, ttlMs } = this.options;
    await store.commit?.(client, id, owner, encodeEnd(end), { leaseMs: this.leaseMs, ttlMs });
  }

  report(path: string, error: unknown): void {
    if (this.events.wanted) this.events.emit({ type: 'handler-failed', path, error });
  }

  note(path: string, outcome: OnceOutcome, key: string): void {
    if (this.events.wanted) this.events.emit({ type: 'once', path, outcome, key: shownKey(key) });
  }

  /** Says what became of a key in doubt: it ended, or with `undefined`, it never began and may begin. */
  async settle(scope: string, path: string, key: string, end: KeptEnd | undefined): Promise<OnceReply> {
    return await this.apply(this.idIn(scope, path, key), { type: 'settle', end: end && encodeEnd(end) });
  }

  private async renew(run: OnceRun): Promise<void> {
    // Renewals that wait for a connection would only keep others waiting.
    if (run.isRenewing) return;
    run.isRenewing = true;
    try {
      await this.apply(run.id, { type: 'renew', owner: run.owner });
    } catch {
      // The next renewal may reach the store.
    }
    run.isRenewing = false;
  }

  private renewLater(): void {
    this.renewal ??= this.clock.setTimer(() => {
      this.renewal = undefined;
      for (const run of this.runs.values()) if (run.isRunning) void this.renew(run);
      if (this.runs.size > 0) this.renewLater();
    }, this.leaseMs / 3);
  }
}

/** Returns the canonical form of a message; its bytes if it has none, because of an unknown group. */
function comparable(bytes: Uint8Array, type: MessageType | undefined): Uint8Array {
  try {
    return canonicalMessage(bytes, type);
  } catch {
    return bytes;
  }
}

/** Returns the key of a request, whose values are several, or joined, if the metadata of its caller have it, too; `undefined` if they differ. */
function keyIn(values: readonly MetadataValue[]): string | undefined {
  const [only] = values;
  if (values.length === 1 && isOnceKey(only)) return only;
  const [key, ...more] = values.flatMap((value) => value.toString().split(', '));
  return isOnceKey(key) && more.every((other) => other === key) ? key : undefined;
}

/** Returns a random key, or the first 12 characters of the SHA-256 of another, which may say something of a person. */
function shownKey(key: string): string {
  return RANDOM_KEY.test(key) ? key : digest('sha256', key).slice(0, 12);
}

function invalid(details: string): StatusLike {
  return { code: StatusCode.INVALID_ARGUMENT, details };
}

/** Returns `status` with a mark in its trailers. */
export function marked(status: StatusLike, mark: OnceMark): StatusLike & { readonly metadata: Metadata } {
  const metadata = status.metadata?.clone() ?? new Metadata();
  metadata.set(ONCE_MARK, mark);
  return { ...status, metadata };
}
