/** Trailer that marks an overload refusal: the server refused the call before the handler ran. */
export const OVERLOAD_KEY = 'x-overloaded';

export const OVERLOAD_VALUE = 'true';

/** Minimum weight of the latest call in the moving averages. The first calls have equal weights. */
const MIN_SMOOTHING = 0.02;
/** Minimum number of measured calls before the mean and the variance are used. */
const MIN_CALLS = 10;

/**
 * Moving mean and variance of a duration that is measured for calls of one method. For `ServedMethod`, the duration is the CPU time of the
 * handler until it first waits or ends. For the server's `ConcurrencyLimit`, it is the time for which a call holds a permit.
 */
export class ServiceTime {
  private calls = 0;
  private mean = 0;
  private squared = 0;

  /** Mean in milliseconds; 0 before ten calls. */
  get meanMs(): number {
    return this.calls < MIN_CALLS ? 0 : this.mean;
  }

  /** Variance in square milliseconds; 0 before ten calls. */
  get variance(): number {
    return this.calls < MIN_CALLS ? 0 : this.squared;
  }

  note(ms: number): void {
    this.calls += 1;
    const smoothing = Math.max(1 / this.calls, MIN_SMOOTHING);
    const difference = ms - this.mean;
    this.mean += smoothing * difference;
    this.squared = (1 - smoothing) * (this.squared + smoothing * difference * difference);
  }
}

export interface FifoEntry<T> {
  /** Expected work of the call, in the unit of its queue. */
  weight: number;
  /** True if the entry is no longer in the queue. The queue sets this flag, `previous`, and `next`. */
  isRemoved: boolean;
  previous: T | undefined;
  next: T | undefined;
}

/**
 * A first-in, first-out queue with removal from the middle. A linked list, so that the queue retains neither removed calls nor their
 * requests.
 */
export class CallFifo<T extends FifoEntry<T>> {
  private first: T | undefined;
  private last: T | undefined;
  size = 0;
  weight = 0;

  push(entry: T): void {
    const { last } = this;
    entry.previous = last;
    if (last === undefined) this.first = entry;
    else last.next = entry;
    this.last = entry;
    this.size += 1;
    this.weight += entry.weight;
  }

  peek(): T | undefined {
    return this.first;
  }

  shift(): T | undefined {
    const { first } = this;
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Iterates over the entries, oldest first. The current entry may be removed during the iteration. */
  *[Symbol.iterator](): IterableIterator<T> {
    let entry = this.first;
    while (entry !== undefined) {
      const { next } = entry;
      yield entry;
      entry = next;
    }
  }

  /** Calls `change` to set the weight of each entry, and recomputes the total. */
  reweigh(change: (entry: T) => void): void {
    this.weight = 0;
    for (const entry of this) {
      change(entry);
      this.weight += entry.weight;
    }
  }

  remove(entry: T): void {
    const { previous, next } = entry;
    if (previous === undefined) this.first = next;
    else previous.next = next;
    if (next === undefined) this.last = previous;
    else next.previous = previous;
    entry.previous = entry.next = undefined;
    entry.isRemoved = true;
    this.size -= 1;
    // Reset to 0 when the queue is empty, because rounding errors would otherwise accumulate.
    this.weight = this.size === 0 ? 0 : this.weight - entry.weight;
  }
}

/** Maximum wait of a call with a deadline during an overload, in milliseconds. The queue refuses such a call if it would wait longer. */
const MAX_OVERLOAD_WAIT_MS = 100;
/** Minimum time in milliseconds, without a refused or expired call, before `settle` ends an overload. */
export const OVERLOAD_STAY_MS = 1_000;
/** Period over which the speed is measured, in milliseconds. */
const SPEED_PERIOD_MS = 100;
/** Weight of the latest period in the moving average of the speed. */
const SPEED_SMOOTHING = 0.3;
/** Safety factor for errors in the measured speed. */
const CERTAINTY = 1.5;
/** Maximum number of calls that are refused at once, so that the refusals do not delay the handlers. */
const MAX_HOPELESS = 100;
/**
 * Number of standard deviations by which a backlog may contain less work than expected, because calls may take less time than the mean of
 * their method.
 */
const DEVIATIONS = 6;

/**
 * Maximum time in milliseconds for which a request waits in buffers before the server reads the timeout of the request. During this time,
 * the server runs other handlers or reads other requests. The client's deadline is earlier than the server's by up to this time.
 */
const MAX_UNSEEN_MS = 30;

export interface WaitingCall<T> extends FifoEntry<T> {
  /** Deadline in monotonic milliseconds; Infinity if the call has no deadline. */
  readonly deadline: number;
  readonly arrivedAt: number;
  /** Mean and variance of the work that one call of this method takes. */
  readonly serviceTime: Pick<ServiceTime, 'meanMs' | 'variance'>;
  /** Variance of the weight. The queue sets the variance, the weight, and the order. */
  variance: number;
  order: number;
}

export type Turn = 'run' | 'expired' | 'refuse';

export interface OverloadQueueLimits {
  /** Maximum number of waiting calls with a deadline. The same limit applies separately to calls without one. */
  readonly maxQueued: number;
  /** Maximum work per millisecond, which is assumed until the speed is measured. */
  readonly maxSpeed: number;
}

/**
 * Holds calls that wait for a server, and decides which of them are refused. Without an overload, the queue is first in, first out, and no
 * call is refused. A call with a deadline is refused on arrival only if `maxQueued` such calls are waiting, or if two conditions are both
 * true. First, a server that queues everything could not complete the call before its deadline. Second, the call would wait here for more
 * than 100 ms or beyond its deadline. The first condition is computed from the backlog of such a server: all calls that arrived, including
 * refused calls, minus the calls that have been served or cancelled. A burst that the server can still serve in time is therefore served,
 * and the queue stays short during a sustained overload. Calls without a deadline are refused only if `maxQueued` such calls are waiting.
 */
export class OverloadQueue<T extends WaitingCall<T>> {
  private readonly limited = new CallFifo<T>();
  private readonly unlimited = new CallFifo<T>();
  private arrivals = 0;
  /** Work done per millisecond. Below its maximum if the process also does other work, such as refusing calls. */
  private speed: number;
  private periodStartedAt = 0;
  private periodWork = 0;
  /** Weight of the calls that would be waiting or being served if no call had been refused. */
  private plainBacklog = 0;
  private plainVariance = 0;
  /**
   * Weight of the calls with a deadline that may still be added: during an overload, `refuses` returned false for them after the last
   * `takeHopeless`.
   */
  private announced = 0;
  /** Weight of the calls that were not served when their turn came, since the last time that no call was waiting or being served. */
  private skipped = 0;
  private skippedVariance = 0;
  private emptySince = 0;
  private serving = 0;
  private lastEvidenceAt = -Infinity;
  /** True from the first refused or expired call until `settle` returns true. */
  isOverloaded = false;
  private isShared = false;
  private isReweighed = false;
  /** Weight taken from `unlimited`, minus the weight taken from `limited`. */
  private balance = 0;

  constructor(private readonly limits: OverloadQueueLimits) {
    this.speed = limits.maxSpeed;
  }

  get size(): number {
    return this.limited.size + this.unlimited.size;
  }

  get unlimitedSize(): number {
    return this.unlimited.size;
  }

  /** Adds a call, or returns false if it must be refused. */
  add(call: T, now: number): boolean {
    if (this.size === 0 && this.serving === 0) this.begin(now);
    const { limited, unlimited } = this;
    weigh(call);
    if (call.deadline !== Infinity) this.announced = Math.max(0, this.announced - call.weight);
    this.plainBacklog += call.weight;
    this.plainVariance += call.variance;
    if (call.deadline === Infinity) {
      if (unlimited.size >= this.limits.maxQueued) return this.refuse(now);
      call.order = this.arrivals++;
      unlimited.push(call);
      return true;
    }
    if (limited.size >= this.limits.maxQueued) return this.refuse(now);
    if (this.isTooLate(call.deadline, now, limited.weight)) return this.refuse(now);
    call.order = this.arrivals++;
    limited.push(call);
    return true;
  }

  /**
   * Returns true if a call that arrives now must be refused, and counts it as refused. Otherwise, the call can be added later. During an
   * overload, a call with a deadline counts as waiting until it is added, or until the next `takeHopeless`, because the headers of many
   * calls arrive before the first of their requests.
   */
  refuses({ deadline, serviceTime }: Pick<T, 'deadline' | 'serviceTime'>, now: number): boolean {
    if (!this.isOverloaded || this.size === 0) return false;
    const { meanMs, variance } = serviceTime;
    this.plainBacklog += meanMs;
    this.plainVariance += variance;
    if (this.isTooLate(deadline, now, this.limited.weight + this.announced)) {
      this.refuse(now);
      return true;
    }
    this.plainBacklog -= meanMs;
    this.plainVariance -= variance;
    if (deadline !== Infinity) this.announced += meanMs;
    return false;
  }

  /** Removes a call that was cancelled, or whose deadline passed. */
  remove(call: T, now: number): void {
    if (call.isRemoved) return;
    (call.deadline === Infinity ? this.unlimited : this.limited).remove(call);
    const next = this.limited.peek();
    if (next === undefined || call.order < next.order) this.skip(call);
    this.noteEnded(call, now);
  }

  take(): T | undefined {
    return this.next().shift();
  }

  /** Decides what happens to a call that `take` returned. If the decision is 'run', `served` must be called. */
  turnOf(call: T, now: number): Turn {
    const turn = this.decide(call, now);
    if (turn === 'run') this.serving += 1;
    this.noteEmpty(now);
    return turn;
  }

  /**
   * Removes and returns up to 100 calls that can no longer be served in time, because the server is slower than was expected when they
   * arrived. If these calls expired instead, their clients would reset the streams, and Node ends connections with many resets.
   */
  takeHopeless(now: number): T[] {
    const { limited, unlimited, speed } = this;
    const hopeless: T[] = [];
    this.announced = 0;
    if (!this.isOverloaded && !this.isReweighed) return hopeless;
    this.isReweighed = false;
    let ahead = 0;
    let variance = 0;
    for (const call of limited) {
      const shared = this.isShared ? Math.min(unlimited.weight, ahead) : 0;
      if (leastOf(ahead + shared, variance) / speed <= (call.deadline - now) * CERTAINTY) {
        ahead += call.weight;
        variance += call.variance;
        continue;
      }
      limited.remove(call);
      this.refuse(now);
      if (hopeless.push(call) === MAX_HOPELESS) break;
    }
    this.noteEmpty(now);
    return hopeless;
  }

  /** Records that a call had already ended when `take` returned it. */
  drop(call: T, now: number): void {
    this.skip(call);
    this.noteEnded(call, now);
  }

  /**
   * Records that a call was served.
   * @param work work that it took, in the unit of the weights
   */
  served(call: T, work: number, now: number): void {
    this.serving -= 1;
    this.forget(call);
    this.noteWork(work, now);
    this.noteEmpty(now);
  }

  /** Records the work of a call that did not wait. */
  noteWork(work: number, now: number): void {
    this.periodWork += work;
    if (now - this.periodStartedAt >= SPEED_PERIOD_MS) this.measureSpeed(now);
  }

  /**
   * Ends the overload if no call is waiting, and none was refused or expired within the last second; calls may still be running. Returns
   * true if the overload ended. Only this method ends an overload.
   */
  settle(now: number): boolean {
    if (!this.isOverloaded || this.size > 0 || now - this.lastEvidenceAt < OVERLOAD_STAY_MS) return false;
    this.isOverloaded = false;
    return true;
  }

  private measureSpeed(now: number): void {
    const elapsedMs = now - this.periodStartedAt;
    this.speed += SPEED_SMOOTHING * (this.periodWork / elapsedMs - this.speed);
    this.startPeriod(now);
    this.reweigh();
  }

  /** Applies the latest measurements to the waiting calls, which may have arrived before their method was measured. */
  private reweigh(): void {
    for (const calls of [this.limited, this.unlimited]) {
      const before = calls.weight;
      calls.reweigh((call) => {
        this.plainVariance -= call.variance;
        weigh(call);
        this.plainVariance += call.variance;
      });
      this.plainBacklog += calls.weight - before;
    }
    this.isReweighed = true;
  }

  private startPeriod(now: number): void {
    this.periodStartedAt = now;
    this.periodWork = 0;
  }

  /** @param ahead weight of the calls with a deadline that would be served earlier */
  private isTooLate(deadline: number, now: number, ahead: number): boolean {
    const { speed, unlimited } = this;
    const leftMs = deadline - now;
    const excess = leastOf(this.plainBacklog, this.plainVariance) - leftMs * CERTAINTY * speed;
    if (excess <= 0) return false;
    // From now on, calls would expire in a first-in, first-out queue. Therefore, the two queues share the server equally.
    this.isShared = true;
    // Bounded, so that the end of the overload is detected soon.
    this.plainBacklog -= Math.max(0, excess - OVERLOAD_STAY_MS * speed);
    const waitMs = (ahead + Math.min(unlimited.weight, ahead)) / speed;
    return waitMs > Math.min(MAX_OVERLOAD_WAIT_MS, leftMs);
  }

  private decide(call: T, now: number): Turn {
    const leftMs = call.deadline - now;
    if (leftMs <= 0) {
      this.skip(call);
      this.noteExpired(now);
      return 'expired';
    }
    // True if, on a server that queues everything, calls that were refused here would still be ahead of this one.
    const isBehind = this.plainBacklog - this.limited.weight - this.unlimited.weight > 2 * call.weight;
    const neededMs = leastOf(call.weight, call.variance) / this.speed;
    // The margin covers time that the server has not measured (`MAX_UNSEEN_MS`). It is at most the time for the skipped calls, because a
    // server that queues everything would serve them before this one.
    const marginMs = Math.min(
      MAX_UNSEEN_MS,
      Math.max(0, leastOf(this.skipped, this.skippedVariance)) / this.limits.maxSpeed,
    );
    if ((isBehind || marginMs > 0) && leftMs < neededMs + marginMs) {
      this.skip(call);
      this.refuse(now);
      return 'refuse';
    }
    return 'run';
  }

  private noteEnded(call: T, now: number): void {
    if (call.deadline <= now) this.noteExpired(now);
    // A cancelled call is removed from the backlog, because it is not evidence of an overload and must not cause refusals.
    else this.forget(call);
    this.noteEmpty(now);
  }

  /** Records a call that is not served when its turn comes. */
  private skip({ weight, variance }: T): void {
    this.skipped += weight;
    this.skippedVariance += variance;
  }

  private refuse(now: number): false {
    this.isOverloaded = true;
    this.lastEvidenceAt = now;
    return false;
  }

  private noteExpired(now: number): void {
    this.refuse(now);
    this.isShared = true;
  }

  private forget({ weight, variance }: T): void {
    this.plainBacklog = Math.max(0, this.plainBacklog - weight);
    this.plainVariance = Math.max(0, this.plainVariance - variance);
  }

  private next(): CallFifo<T> {
    const { limited, unlimited } = this;
    const [firstLimited, firstUnlimited] = [limited.peek(), unlimited.peek()];
    if (firstUnlimited === undefined) return limited;
    if (firstLimited === undefined) return unlimited;
    const isLimitedOlder = firstLimited.order < firstUnlimited.order;
    if (!this.isShared || isLimitedOlder) return isLimitedOlder ? limited : unlimited;
    const chosen = this.balance > 0 ? limited : unlimited;
    this.balance += chosen === limited ? -firstLimited.weight : firstUnlimited.weight;
    return chosen;
  }

  private begin(now: number): void {
    this.startPeriod(now);
    this.plainBacklog = Math.max(0, this.plainBacklog - (now - this.emptySince) * this.limits.maxSpeed);
    if (this.plainBacklog > 0) return;
    this.plainVariance = 0;
    // The speed of an earlier load does not apply to this one.
    this.speed = this.limits.maxSpeed;
  }

  private noteEmpty(now: number): void {
    if (this.size > 0 || this.serving > 0) return;
    this.emptySince = now;
    this.isShared = false;
    this.balance = 0;
    this.skipped = this.skippedVariance = 0;
  }
}

function weigh(call: Pick<WaitingCall<never>, 'weight' | 'variance' | 'serviceTime'>): void {
  call.weight = call.serviceTime.meanMs;
  call.variance = call.serviceTime.variance;
}

/** Returns the least work that a backlog of this expected work and variance is likely to contain. */
function leastOf(work: number, variance: number): number {
  return work - DEVIATIONS * Math.sqrt(Math.max(0, variance));
}

/**
 * Threshold in milliseconds: calls are taken to be waiting for handlers if the time in handlers exceeds the time between handlers by more
 * than this value.
 */
const LATE_AFTER_MS = 10;
/** Maximum busy time that is counted, in milliseconds, so that even a long busy period ends soon after the load ends. */
const MAX_BUSY_MS = 10 * LATE_AFTER_MS;
/** Maximum idle time between two batches of a busy period, in milliseconds. */
const MAX_IDLE_MS = 0.5;

/**
 * Detects that handlers run back to back while calls wait for them. A batch is a call and all calls that arrive before its handler
 * completes its synchronous work and microtasks. The time between batches, in which the process reads requests, is subtracted from the busy
 * time. A queue in front of the handlers has no benefit if handling a request takes less time than reading it. Only idle time ends a busy
 * period at once: on a machine with other load, the time between two batches can be long even though the requests are already in the socket
 * buffer.
 */
export class BusyPeriod {
  private busyMs = 0;
  private batchStartedAt: number | undefined;
  private endedAt = -Infinity;
  private lastIdleMs = 0;

  /** @param idleMs returns the total time for which the event loop has waited for events, in milliseconds */
  constructor(private readonly idleMs: () => number) {}

  get isInBatch(): boolean {
    return this.batchStartedAt !== undefined;
  }

  /** Returns true if a call that arrives at `now` should wait in a queue. */
  isLate(now: number): boolean {
    if (this.batchStartedAt !== undefined) return this.busyMs + now - this.batchStartedAt > LATE_AFTER_MS;
    const idleMs = this.idleMs();
    const wasIdle = idleMs - this.lastIdleMs > MAX_IDLE_MS;
    this.lastIdleMs = idleMs;
    this.busyMs = wasIdle ? 0 : Math.max(0, this.busyMs - (now - this.endedAt));
    return this.busyMs > LATE_AFTER_MS;
  }

  begin(now: number): void {
    this.batchStartedAt ??= now;
  }

  end(now: number): number {
    const ms = now - (this.batchStartedAt ?? now);
    this.busyMs = Math.min(this.busyMs + ms, MAX_BUSY_MS);
    this.batchStartedAt = undefined;
    this.endedAt = now;
    return ms;
  }
}
