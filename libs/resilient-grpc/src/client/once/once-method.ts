import { randomBytes } from 'node:crypto';
import type { Metadata } from '@grpc/grpc-js';
import type { EventHub } from '../../call/event-hub.js';
import type { MethodDescriptor } from '../../call/method.js';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { problemMessage } from '../../policy/options/describe-value.js';
import { isOnceKey, ONCE_KEY, ONCE_NOW, ONCE_SCOPE, ONCE_SUFFIX, ONCE_TTL } from '../../policy/once/once-fields.js';
import type { Clock } from '../../time/clock.js';

/** Time in milliseconds after which servers without the feature are asked again. */
const ASK_AGAIN_MS = 60_000;
const WAITS_PER_TOKEN = 10;
/** Questions that are forbidden before servers count as without the feature. */
const MAX_FORBIDDEN = 3;

/** Size of a random key in bytes, and that of the random bytes that are fetched at once. */
const [KEY_BYTES, POOL_BYTES] = [16, 4_096];
let pool = Buffer.alloc(0);
let used = 0;

/** Returns 32 hexadecimal digits. A UUID has no more randomness, and Node assembles it of parts that take 700 bytes. */
function randomKey(): string {
  if (used === pool.length) {
    pool = randomBytes(POOL_BYTES);
    used = 0;
  }
  return pool.toString('hex', used, (used += KEY_BYTES));
}

/** What the servers of a method have said of their keys. All calls of a client share it. */
export class OnceServers {
  /** The store that they named last; `undefined` before they did. */
  scope: string | undefined;
  /** Time for which they keep ends, in milliseconds. */
  ttlMs = 0;
  /** Time of the store minus that of `clock`, at most. */
  private aheadMs = 0;
  private isWithoutUntil = -Infinity;
  /** Waits of calls whose handlers run in another process. */
  private waits = 0;
  /** Questions in a row that were forbidden. */
  private forbidden = 0;

  constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private readonly events: EventHub,
  ) {}

  /** True if they are without the feature, as far as is known. */
  get areWithout(): boolean {
    return this.clock.now() < this.isWithoutUntil;
  }

  /** @param isCertain false if the path was forbidden, which may be meant for the caller of one request */
  foundWithout(isCertain: boolean): void {
    this.scope = undefined;
    if (!isCertain && (this.forbidden += 1) < MAX_FORBIDDEN) return;
    if (this.events.wanted && !this.areWithout) this.events.emit({ type: 'once-unsupported', path: this.path });
    this.isWithoutUntil = this.clock.now() + ASK_AGAIN_MS;
  }

  /** Counts a wait. Returns true if it takes a token of the retry budget: each tenth does, because it asks a server, which does little. */
  waitCosts(): boolean {
    this.waits += 1;
    return this.waits % WAITS_PER_TOKEN === 0;
  }

  /** Takes over what a refusal because of the scope says. */
  learn(trailers: Metadata): void {
    const [ttlMs = 0, now = 0] = [ONCE_TTL, ONCE_NOW].map((name) => Number(trailers.get(name)[0]));
    this.forbidden = 0;
    const isComplete = ttlMs > 0 && now > 0;
    this.scope = isComplete ? trailers.get(ONCE_SCOPE)[0]?.toString() : undefined;
    this.ttlMs = ttlMs;
    // The answer took a while, so that the store may be further.
    this.aheadMs = now - this.clock.now();
  }

  /** Returns the time of the store at `at`, in monotonic milliseconds; it may be later. */
  storeTime(at: number): number {
    return at + this.aheadMs;
  }
}

/** A method whose calls have a key. */
export class OnceMethod {
  /** The method under the path for keys. */
  readonly method: MethodDescriptor;

  constructor(
    method: MethodDescriptor,
    private readonly option: true | ((request: never) => string),
    readonly servers: OnceServers,
  ) {
    this.method = { ...method, path: method.path + ONCE_SUFFIX };
  }

  /**
   * True if a call, which may have a key of its options, is sent with its key. Another call may have a key that is not random, too, so each call
   * with such a key asks.
   */
  takesKeys(hasGivenKey: boolean): boolean {
    return hasGivenKey || this.option !== true || !this.servers.areWithout;
  }

  /**
   * Returns the key of a call: that of its options, that of its request, or a random one.
   *
   * @throws GrpcConfigurationError for a key that cannot be sent, and if the metadata have another one
   */
  keyOf(request: unknown, given: string | undefined, metadata: Metadata): string {
    const { option, method } = this;
    // A generated client has serialized the request.
    const isRandom = option === true || method.isGenerated === true;
    // Safe cast: the function is for the requests of its methods.
    const key: unknown = given ?? (isRandom ? randomKey() : option(request as never));
    const path = method.path.slice(0, -ONCE_SUFFIX.length);
    if (!isOnceKey(key)) {
      const message = problemMessage('a key of 1 to 255 characters from ! to ~', key);
      throw new GrpcConfigurationError([{ path: `${path}: once`, message }]);
    }
    const [other] = metadata.get(ONCE_KEY);
    if (other !== undefined && other !== key) {
      const message =
        'the metadata have another key than the call; pass it as the option onceKey, and leave it out there';
      throw new GrpcConfigurationError([{ path: `${path}: metadata["${ONCE_KEY}"]`, message }]);
    }
    return key;
  }
}
