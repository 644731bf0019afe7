import { randomUUID } from 'node:crypto';
import { systemClock } from '../../time/clock.js';
import {
  nextOnce,
  type OnceEvent,
  type OnceLimits,
  type OnceRecord,
  type OnceReply,
} from '../../policy/once/next-once.js';
import type { OnceIdentity, OnceStore } from './once-store.js';

export interface MemoryOnceStoreOptions {
  /** Maximum number of keys, 1 or more. Further writes are refused before they run. A key takes about 350 bytes. @defaultValue 1000000 */
  readonly maxKeys?: number | undefined;
  /**
   * Maximum size of the kept answers in bytes, 0 or more. Each counts 150 bytes more. The oldest answers give way; their keys stay, in doubt for those who ask again.
   * @defaultValue 67108864
   */
  readonly maxAnswerBytes?: number | undefined;
}

/** Interval between two searches for records that have expired, in milliseconds, and how many one of them deletes. */
const [SWEEP_MS, MAX_SWEPT] = [1_000, 1_000];
/** Size of the blocks in which answers lie, which go in the order in which they came. */
const BLOCK_BYTES = 65_536;
/** What a kept answer takes besides its bytes. */
const ANSWER_OVERHEAD = 150;

/**
 * Keeps keys in the memory of one server process. A repeated write that reaches this process has one effect; when the process ends, what ran is
 * in doubt as without the feature. For several processes, use a store that they share.
 */
export class MemoryOnceStore implements OnceStore {
  private readonly scope = randomUUID();
  /** A clock that is never set, in milliseconds since 1970. */
  private readonly startedAt = systemClock.epoch() - systemClock.now();
  /** In the order of their last change, which is the order in which they expire. */
  private readonly records = new Map<string, OnceRecord>();
  /** Ids whose answers are kept, oldest first. */
  private readonly answers = new Map<string, number>();
  private answerBytes = 0;
  private block = new Uint8Array();
  private blockUsed = 0;
  private sweptAt = 0;
  private readonly maxKeys: number;
  private readonly maxAnswerBytes: number;

  constructor({ maxKeys = 1_000_000, maxAnswerBytes = 64 * 1024 * 1024 }: MemoryOnceStoreOptions = {}) {
    if (!(maxKeys >= 1 && maxAnswerBytes >= 0))
      throw new RangeError('MemoryOnceStore: expected maxKeys of 1 or more, and maxAnswerBytes of 0 or more');
    this.maxKeys = maxKeys;
    this.maxAnswerBytes = maxAnswerBytes;
  }

  identify(): OnceIdentity {
    return { scope: this.scope, now: this.now };
  }

  /** @throws RangeError if the store is full, and `event` would add a key */
  apply(id: string, event: OnceEvent, { ttlMs }: OnceLimits): OnceReply {
    const { now } = this;
    this.sweep(now);
    const before = this.records.get(id);
    // A process that is frozen freezes its store, too, so that no lease ends.
    const { record, reply } = nextOnce(before, event, {
      now,
      leaseMs: Infinity,
      ttlMs,
      scope: this.scope,
      commits: false,
    });
    if (record === before) return reply;
    if (before === undefined && this.records.size >= this.maxKeys)
      throw new RangeError(`the memory store has ${String(this.maxKeys)} keys; raise maxKeys, or shorten ttlMs`);
    if (before?.kind === 'done') this.forgetAnswer(id);
    if (before !== undefined) this.records.delete(id);
    if (record?.kind === 'done' && record.end !== undefined) {
      this.records.set(id, { ...record, end: this.copied(record.end) });
      this.keepAnswer(id, record.end.length + ANSWER_OVERHEAD);
    } else if (record !== undefined) this.records.set(id, record);
    return reply;
  }

  /** Copies an answer out of Node's pool, of which each would keep 8 KiB. */
  private copied(end: Uint8Array): Uint8Array {
    if (end.length > BLOCK_BYTES / 8) return Uint8Array.from(end);
    if (this.blockUsed + end.length > this.block.length) {
      this.block = new Uint8Array(BLOCK_BYTES);
      this.blockUsed = 0;
    }
    const copy = this.block.subarray(this.blockUsed, (this.blockUsed += end.length));
    copy.set(end);
    return copy;
  }

  private get now(): number {
    return this.startedAt + systemClock.now();
  }

  private keepAnswer(id: string, bytes: number): void {
    this.answers.set(id, bytes);
    this.answerBytes += bytes;
    // One that alone is too large takes no place from others.
    if (bytes > this.maxAnswerBytes) this.dropAnswer(id);
    for (const oldest of this.answers.keys()) {
      if (this.answerBytes <= this.maxAnswerBytes) return;
      this.dropAnswer(oldest);
    }
  }

  private dropAnswer(id: string): void {
    const record = this.records.get(id);
    if (record?.kind === 'done') this.records.set(id, { ...record, end: undefined });
    this.forgetAnswer(id);
  }

  private forgetAnswer(id: string): void {
    this.answerBytes -= this.answers.get(id) ?? 0;
    this.answers.delete(id);
  }

  private sweep(now: number): void {
    if (now - this.sweptAt < SWEEP_MS) return;
    let swept = 0;
    for (const [id, { expiresAt, kind }] of this.records) {
      // The next event goes on.
      if (swept === MAX_SWEPT) return;
      if (now < expiresAt) break;
      if (kind === 'running') continue;
      this.records.delete(id);
      this.forgetAnswer(id);
      swept += 1;
    }
    this.sweptAt = now;
  }
}
