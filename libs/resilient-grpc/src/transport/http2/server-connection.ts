import { HTTP2_ERROR_CODES } from '../../status/http2-error-codes.js';
import type { Clock } from '../../time/clock.js';
import type { HeaderBlock } from '../hpack/header-block.js';
import type { PlannedEnd, TransportProtection } from '../protection.js';
import { Allowance } from './allowance.js';
import { Http2Connection, type ConnectionSettings } from './connection.js';
import type { ConnectionOwner, StreamProgress } from './events.js';
import { foreignProtocol } from './foreign-protocol.js';
import type { WriteBlock } from './frame-writer.js';
import { excess, MAX_STREAM_ID, PREFACE, Setting, violation } from './frames.js';
import type { Holder, MemoryBudget, Shed } from './memory-budget.js';
import { ServerStream, type RequestOwner, type ServerStreamHost } from './server-stream.js';

const { ENHANCE_YOUR_CALM, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED } = HTTP2_ERROR_CODES;

/** Number of new requests after which the connection waits for the next turn, so that a burst does not hold up other connections. */
const REQUESTS_PER_TURN = 128;
/** Bytes of unsent output above which nothing is read: each frame of the client might need an answer. */
const MAX_UNSENT_BYTES = 262_144;
/**
 * Number of cancelled and refused calls that are tolerated at once, and that are forgotten per second. It is far above what a client
 * explains that cancels all its calls, whatever the limit of streams.
 */
const MAX_RESETS = 50_000;
const FORGOTTEN_RESETS_PER_SECOND = 15_000;
/** Number of resets for which one counts that this side sends because of a violation (CVE-2025-8671): honest clients cause none. */
const RESETS_PER_VIOLATION = 100;
/** Size of a decoded header list above which the client is an attacker: a block of one byte per field is 4,000 times larger when decoded. */
const MAX_DECODED_BYTES = 1_048_576;
/** Share of the memory by which the windows of a connection's streams may grow, and the most that they may grow. */
const EXTRA_SHARE = 1 / 8;
const MAX_EXTRA_WINDOW = 134_217_728;
/** Maximum size of a header block. */
const MAX_BLOCK_BYTES = 262_144;
/** Memory in V8's heap of a stream and its call in Nest, apart from what the client sends, which might be 60 bytes. */
export const STREAM_BYTES = 10_240;
/** Memory of a queued message, apart from its bytes. */
const QUEUED_MESSAGE_BYTES = 256;
/** Time in milliseconds after which a message that does not go on is one that the client has given up. */
const STALLED_MS = 1_000;
/** Time in milliseconds after which a request that its user has got, and that has not ended, is given up. */
const MAX_UNENDED_MS = 60_000;
/** Time in milliseconds after which a message that does not go on lets the next one go first. */
const MAX_TURN_MS = 10_000;
/** Number of PINGs below the minimum interval that are tolerated (gRFC A8). */
const MAX_PING_STRIKES = 2;
const EMPTY = Buffer.alloc(0);
/** Settings and limits of a server's connection. All sizes are in bytes. */
export interface ServerSettings extends ConnectionSettings {
  /**
   * Maximum number of open streams, which the client is told, and of cancelled ones that are not released. Further ones are refused.
   */
  readonly maxConcurrentStreams: number;
  /** Minimum time between two PINGs of the client without a response between them (gRFC A8), in milliseconds; 0 for any number. */
  readonly minPingIntervalMs: number;
}

/** Receives the events of a server's connection. */
export interface ServerOwner extends ConnectionOwner, RequestOwner {
  /**
   * Further bytes must wait. The owner stops reading its socket and calls `resume()`: in the next turn of the event loop, or, if output is
   * blocked, after `drained()`.
   */
  pause(): void;
}

/** The server's side of a connection. */
export class ServerConnection extends Http2Connection<ServerStream> implements ServerStreamHost, Holder {
  /** Bytes that count for this connection in the budget of memory. */
  heldBytes = 0;
  answered = 0;
  /** Streams that have begun although the budget was nearly used up, and their bytes. */
  private readonly reserved = new Set<ServerStream>();
  reservedBytes = 0;
  /** Bytes of the messages of all streams. */
  private bufferedBytes = 0;
  protected readonly maxEnablePush = 1;
  declare protected readonly owner: ServerOwner;
  /** True if the client has completed its preface and settings. */
  hasClientSettings = false;
  private prefaceBytes = 0;
  private hasBegun = false;
  /** Highest id of a stream whose client has skipped it or a higher one. */
  private skippedUpTo = 0;
  /** Highest ids of streams that this side has reset, whose frames may still arrive: of those before the current PING, and after it. */
  private confirmingUpTo = 0;
  private resetUpTo = 0;
  private readonly resets: Allowance;
  /** Number of streams that have ended and whose users still work. */
  private working = 0;
  /** Why the connection ends when its streams have ended; `undefined` if it does not. */
  private drainedFor: PlannedEnd | undefined;
  /** Highest id that is served, after the final GOAWAY. */
  private finalId: number | undefined;
  private isFinalIdKnown = false;
  private requestsLeft = 0;
  /** Input that waits for the next turn, or for the output. */
  private backlog: Buffer | undefined;
  /** Bytes that were passed to the socket: the latest, and all since it is blocked. */
  private takenBytes = 0;
  private unsentBytes = 0;
  /** Bytes that count for the connection itself: of an incomplete header block, of input that waits, and of unsent output. */
  private bufferBytes = 0;
  private lastPingAt = -Infinity;
  private pingStrikes = 0;
  /** Times of the latest read or write, and of the latest search for requests that do not end. */
  private movedAt: number;
  private searchedAt: number;
  /** The stream whose message goes on although there is no room, and those that wait for it, in their order. */
  private assembling: ServerStream | undefined;
  private readonly waiting = new Set<ServerStream>();

  constructor(
    owner: ServerOwner,
    private readonly limits: ServerSettings,
    clock: Pick<Clock, 'now'>,
    private readonly memory: MemoryBudget,
  ) {
    super(owner, limits, clock, Math.min(EXTRA_SHARE * memory.maxBytes, MAX_EXTRA_WINDOW), MAX_BLOCK_BYTES);
    this.resets = new Allowance(MAX_RESETS, FORGOTTEN_RESETS_PER_SECOND, clock);
    this.movedAt = this.searchedAt = clock.now();
    memory.join(this);
  }

  /** What the client has begun and not completed, such as `frame 12`; `undefined` if there is nothing. */
  get awaited(): string | undefined {
    if (!this.hasClientSettings) return 'preface and settings';
    // The rest may have arrived.
    if (this.isFull || this.owner.wanted?.() === 0) return undefined;
    const frame = this.reader.incompleteFrame;
    return frame === undefined || this.backlog !== undefined ? undefined : `frame ${String(frame)}`;
  }

  // ── the end ──

  /** Id of the latest stream; 0 if there was none. */
  private get lastId(): number {
    return Math.max(this.nextId - 2, 0);
  }

  /**
   * Accepts no more requests, and ends the connection when its streams have ended: by a GOAWAY that refuses nothing, and, when the client
   * has acknowledged a PING and so has no earlier request on its way, by one that names the last stream. `refuse()` does not wait for it.
   */
  drain(protection: PlannedEnd): void {
    if (this.isEnded || this.drainedFor !== undefined) return;
    this.drainedFor = protection;
    // A client that has not begun yet has no request on its way.
    if (!this.hasClientSettings) this.end(protection, NO_ERROR, 'the server shuts down');
    else {
      this.writer.goaway(MAX_STREAM_ID, NO_ERROR, '');
      this.ping(() => this.refuse(protection));
    }
  }

  /** Refuses requests that arrive from now on. */
  refuse(protection: PlannedEnd): void {
    if (this.isEnded || this.finalId !== undefined) return;
    this.drainedFor = protection;
    this.finalId = this.lastId;
    this.writer.goaway(this.finalId, NO_ERROR, '');
    this.ping(() => {
      this.isFinalIdKnown = true;
    });
    this.placeFreed();
  }

  protected writeGoaway(code: number, debug: string): void {
    this.begin();
    this.writer.goaway(this.lastId, code, debug);
  }

  override ping(acknowledged: () => void): void {
    if (!this.isEnded) this.begin();
    super.ping(acknowledged);
  }

  protected override finish(...end: Parameters<Http2Connection['finish']>): void {
    this.backlog = undefined;
    this.waiting.clear();
    super.finish(...end);
    this.memory.leave(this);
    this.add(-this.bufferBytes);
    this.bufferBytes = 0;
  }

  protected placeFreed(): void {
    if (this.finalId === undefined || this.streams.size > 0 || this.isEnded) return;
    const details = 'the server has closed the connection';
    this.finish({ code: NO_ERROR, details, isPeersFault: false, isPlanned: true, protection: this.drainedFor });
    this.wake();
  }

  // ── input ──

  override receive(bytes: Buffer, at = 0, end = bytes.length): number {
    if (this.isEnded) return end;
    if (!this.mayRead()) {
      this.backlog = Buffer.concat([this.backlog ?? EMPTY, bytes.subarray(at, end)]);
      this.holdBuffers();
      // The output may have become full since the last read.
      this.owner.pause();
      return end;
    }
    const from = this.prefaceBytes < PREFACE.length ? this.readPreface(bytes, at, end) : at;
    const next = this.receiveSome(bytes, from, end);
    this.backlog = next >= end ? undefined : Buffer.from(bytes.subarray(next, end));
    if (!this.mayRead()) this.owner.pause();
    return end;
  }

  private mayRead(): boolean {
    return this.isEnded || (this.backlog === undefined && !this.isFull && this.owner.wanted?.() !== 0);
  }

  /** True if nothing is read until the socket has taken the output. */
  get isFull(): boolean {
    return this.isBlocked && this.unsentBytes + this.writer.bytes > MAX_UNSENT_BYTES;
  }

  /** Reads what waits, after `pause()`. Returns true if the owner may read its socket again. */
  resume(): boolean {
    const { backlog } = this;
    if (this.isFull || backlog === undefined || this.owner.wanted?.() === 0) return this.mayRead();
    this.backlog = undefined;
    const next = this.receiveSome(backlog, 0, backlog.length);
    this.backlog = this.isEnded || next >= backlog.length ? undefined : backlog.subarray(next);
    return this.mayRead();
  }

  private receiveSome(bytes: Buffer, at: number, end: number): number {
    this.requestsLeft = Math.min(REQUESTS_PER_TURN, this.owner.wanted?.() ?? Infinity);
    this.movedAt = this.clock.now();
    if (!this.isEnded) this.reader.resume();
    const next = super.receive(bytes, at, end);
    this.holdBuffers();
    if (this.waiting.size > 0) this.assembleNext();
    if (this.movedAt - this.searchedAt > MAX_UNENDED_MS) this.endUnended();
    this.memory.relieve();
    return next;
  }

  private endUnended(): void {
    this.searchedAt = this.movedAt;
    for (const stream of this.streams.unordered())
      if (stream.awaitsEnd && !stream.isRemoteEnded && this.movedAt - stream.movedAt > MAX_UNENDED_MS)
        this.giveUp('unended-request', stream, `the request has not ended for ${String(MAX_UNENDED_MS)} ms`);
  }

  private readPreface(bytes: Buffer, at: number, end: number): number {
    const from = this.prefaceBytes;
    const next = Math.min(end, at + PREFACE.length - from);
    if (bytes.compare(PREFACE, from, from + next - at, at, next) !== 0) {
      this.rejectProtocol(bytes.subarray(at, end));
      return end;
    }
    this.prefaceBytes += next - at;
    if (this.prefaceBytes === PREFACE.length) this.begin();
    return next;
  }

  /** Sends the settings, if nothing was sent before. */
  private begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    this.writeSettings([Setting.MAX_CONCURRENT_STREAMS, this.limits.maxConcurrentStreams]);
  }

  private rejectProtocol(bytes: Buffer): void {
    const { details, answer } = foreignProtocol(bytes, this.prefaceBytes === 0);
    if (answer === undefined) this.endForViolation('foreign-protocol', PROTOCOL_ERROR, details);
    else {
      this.writer.raw(answer);
      this.finish({ code: PROTOCOL_ERROR, details, isPeersFault: true, protection: 'foreign-protocol' });
      this.wake();
    }
  }

  override settings(bytes: Buffer, from: number, end: number): void {
    this.hasClientSettings = true;
    super.settings(bytes, from, end);
  }

  /** The limit because of which a request is refused, however small it is, also before the client knows it. */
  private get refusal(): TransportProtection | undefined {
    if (this.streams.size >= this.limits.maxConcurrentStreams) return 'concurrent-streams';
    return this.working > this.limits.maxConcurrentStreams ? 'cancelled-streams' : undefined;
  }

  override readsHeaders(id: number): boolean {
    return this.refusal === undefined || super.readsHeaders(id);
  }

  headers(id: number, isEnd: boolean, block: HeaderBlock): void {
    if (block.size > MAX_DECODED_BYTES) excess('header-list', `a header list of ${String(block.size)} bytes`);
    const stream = this.streams.get(id);
    if (stream !== undefined) this.trailersReceived(stream, isEnd, block);
    else if (id % 2 === 0) violation('HEADERS on a stream of the server');
    else if (id < this.nextId) {
      this.requireKnown(id, 'HEADERS');
      this.useless('HEADERS');
    } else if (this.finalId === undefined) this.requestReceived(id, isEnd, block);
    else {
      // The client sends such requests again elsewhere.
      if (this.isFinalIdKnown) violation('HEADERS above the last stream id of GOAWAY');
      this.useless('HEADERS');
    }
  }

  private requestReceived(id: number, isEnd: boolean, block: HeaderBlock): void {
    if (id > this.nextId) this.skippedUpTo = id - 2;
    this.nextId = id + 2;
    const { limits, memory } = this;
    const callBytes = memory.heapFactor * (STREAM_BYTES + block.heapBytes);
    const isReserved = !memory.admits(callBytes);
    let protection = this.refusal;
    if (protection === undefined && isReserved && !memory.takeReserve(this, callBytes)) protection = 'memory-refused';
    if (protection !== undefined) {
      // The client may send it again.
      this.writeReset(id, REFUSED_STREAM);
      // How much memory is free, no client knows.
      if (protection === 'memory-refused') this.owner.memoryUsedUp?.(protection);
      else this.countResets(1);
      return;
    }
    const stream = new ServerStream(this, id, callBytes, this.initialSendWindow, limits.streamWindow);
    stream.movedAt = this.movedAt;
    if (this.streams.size === 0) memory.addBusy(1);
    this.streams.add(stream);
    if (isReserved) {
      this.reserved.add(stream);
      this.reservedBytes += callBytes;
    }
    this.add(callBytes);
    const problem = block.isTooLarge ? undefined : requestProblem(block, isEnd);
    if (problem !== undefined) {
      stream.isReleased = true;
      this.reject(stream, PROTOCOL_ERROR, problem);
      return;
    }
    if (block.contentLength !== undefined) stream.missingBytes = Number(block.contentLength);
    stream.isRemoteEnded = isEnd;
    this.requestsLeft -= 1;
    if (this.requestsLeft === 0) this.reader.stop();
    stream.begin(this.owner, block, isEnd);
  }

  private trailersReceived(stream: ServerStream, isEnd: boolean, block: HeaderBlock): void {
    const problem = trailersProblem(block, isEnd);
    if (stream.isRemoteEnded) this.reject(stream, STREAM_CLOSED, 'HEADERS after the end of the request');
    else if (problem !== undefined) this.reject(stream, PROTOCOL_ERROR, problem);
    else {
      this.remoteEnded(stream);
      if (!stream.isClosed) stream.headers(block, true);
    }
  }

  protected dataReceived(stream: ServerStream | undefined, length: number): void {
    if (stream === undefined) this.creditConnection(length);
    else {
      stream.unreadBytes += length;
      stream.movedAt = this.movedAt;
      // Unread messages of one call do not hold up others, unless the connection holds much.
      if (this.memory.hasRoom(this.bufferedBytes)) this.creditConnection(length);
      else stream.owedBytes += length;
      if (stream.isRemoteEnded) this.reject(stream, STREAM_CLOSED, 'DATA after the end of the request');
    }
  }

  override data(bytes: Buffer, at: number, end: number): void {
    const stream = this.dataStream;
    if (stream?.missingBytes !== undefined) stream.missingBytes -= end - at;
    super.data(bytes, at, end);
  }

  protected remoteEnded(stream: ServerStream): void {
    stream.isRemoteEnded = true;
    if (stream.missingBytes !== undefined && stream.missingBytes !== 0)
      this.reject(stream, PROTOCOL_ERROR, 'a body whose size is not content-length');
  }

  override reset(id: number, code: number): void {
    this.countResets(1);
    if (this.streams.get(id) === undefined) this.requireKnown(id, 'RST_STREAM');
    else super.reset(id, code);
  }

  override pingReceived(high: number, low: number): void {
    const { minPingIntervalMs } = this.limits;
    if (minPingIntervalMs > 0) {
      const now = this.clock.now();
      if (now - this.lastPingAt < minPingIntervalMs) this.pingStrikes += 1;
      this.lastPingAt = now;
      // The text that gRPC's clients know (gRFC A8).
      if (this.pingStrikes > MAX_PING_STRIKES) excess('too-many-pings', 'too_many_pings');
    }
    super.pingReceived(high, low);
  }

  protected override requireKnown(id: number, frame: string): void {
    // Other frames may have crossed the end of the stream.
    const isOfRequest = frame === 'DATA' || frame === 'HEADERS';
    const isRefused = this.finalId !== undefined && id > this.finalId && id % 2 === 1;
    if (isRefused && !(isOfRequest && this.isFinalIdKnown)) return;
    if (id <= Math.max(this.confirmingUpTo, this.resetUpTo) && id % 2 === 1) return;
    super.requireKnown(id, frame);
    if (!isOfRequest) return;
    if (id <= this.skippedUpTo) violation(`${frame} on a skipped stream`);
    violation(`${frame} on a closed stream`, STREAM_CLOSED);
  }

  // ── ends of streams ──

  cancel(stream: ServerStream, code: number): void {
    this.writeReset(stream.id, code);
    this.close(stream);
    this.placeFreed();
  }

  override reject(stream: ServerStream, code: number, details: string): void {
    if (stream.isClosed) return;
    super.reject(stream, code, details);
    this.rememberReset(stream.id);
    this.countResets(RESETS_PER_VIOLATION);
  }

  private writeReset(id: number, code: number): void {
    this.writer.reset(id, code);
    this.rememberReset(id);
    this.wake();
  }

  /** Tolerates frames on the streams up to one that this side resets until the client has acknowledged a PING that was sent later. */
  private rememberReset(id: number): void {
    this.resetUpTo = Math.max(this.resetUpTo, id);
    if (this.confirmingUpTo === 0) this.confirmResets();
  }

  private confirmResets(): void {
    this.confirmingUpTo = this.resetUpTo;
    this.resetUpTo = 0;
    this.ping(() => {
      this.confirmingUpTo = 0;
      if (this.resetUpTo > 0) this.confirmResets();
    });
  }

  private countResets(count: number): void {
    if (!this.resets.take(count)) excess('resets', `more than ${String(MAX_RESETS)} cancelled or refused calls`);
  }

  protected override close(stream: ServerStream): void {
    super.close(stream);
    if (this.streams.size === 0) this.memory.addBusy(-1);
    stream.unreadBytes = 0;
    this.payOwed(stream, stream.owedBytes);
    this.hold(stream);
    // Here, because a stream whose handler goes on must not cost others that are given back in its place.
    if (this.reserved.delete(stream)) {
      this.reservedBytes -= stream.callBytes;
      this.memory.freeReserve(stream.callBytes);
    }
    if (stream.isReleased) this.letGo(stream);
    else this.working += 1;
    this.waiting.delete(stream);
    if (this.assembling === stream) this.assembleNext();
  }

  released(stream: ServerStream): void {
    if (!stream.isClosed) return;
    this.working -= 1;
    this.letGo(stream);
  }

  /** The stream has ended, and the user's work for it is over. */
  private letGo(stream: ServerStream): void {
    this.add(-stream.callBytes);
    this.memory.freeDelivered(stream.deliveredBytes);
    stream.deliveredBytes = 0;
  }

  deliver(stream: ServerStream, bytes: number): boolean {
    const counted = this.memory.heapFactor * bytes;
    const isAdmitted = this.memory.deliver(counted);
    if (isAdmitted) stream.deliveredBytes += counted;
    else this.owner.memoryUsedUp?.('request-memory');
    return isAdmitted;
  }

  giveBack(details: string): void {
    const [stream] = this.reserved;
    if (stream === undefined) return;
    this.giveUp('memory-shed', stream, details);
  }

  progressOf(): StreamProgress {
    return 'answered';
  }

  // ── output ──

  writeHead(stream: ServerStream, bound: number, write: WriteBlock): void {
    this.responded();
    this.writeBlock(stream.id, false, bound, write);
  }

  writeTrailers(stream: ServerStream, bound: number, write: WriteBlock): void {
    this.responded();
    this.writeBlock(stream.id, true, bound, write);
    this.localEnded(stream);
  }

  override writeData(
    stream: ServerStream,
    bytes: Uint8Array,
    compressed: number,
    from: number,
    size: number,
    isEnd: boolean,
  ): void {
    this.responded();
    super.writeData(stream, bytes, compressed, from, size, isEnd);
    stream.movedAt = this.movedAt;
    if (stream.isQueued) this.hold(stream);
    if (isEnd) this.localEnded(stream);
  }

  /** PINGs beside responses measure the connection, as those of gRPC's clients do. */
  private responded(): void {
    this.pingStrikes = 0;
    this.lastPingAt = -Infinity;
  }

  override writeEnd(stream: ServerStream): void {
    super.writeEnd(stream);
    this.localEnded(stream);
  }

  /** The response is complete. */
  private localEnded(stream: ServerStream): void {
    stream.isLocalEnded = true;
    this.answered += 1;
    if (!stream.isRemoteEnded) this.writeReset(stream.id, NO_ERROR);
    this.close(stream);
    this.placeFreed();
  }

  override takeOutput(): Buffer[] {
    this.movedAt = this.clock.now();
    this.memory.relieve();
    this.takenBytes = this.writer.bytes;
    return super.takeOutput();
  }

  override taken(isSent: boolean, isBlocked: boolean): void {
    super.taken(isSent, isBlocked);
    if (!this.isBlocked) return;
    this.unsentBytes += this.takenBytes;
    this.takenBytes = 0;
    this.holdBuffers();
  }

  override drained(): void {
    this.unsentBytes = 0;
    this.holdBuffers();
    super.drained();
  }

  // ── memory ──

  override queued(stream: ServerStream): void {
    super.queued(stream);
    this.hold(stream);
  }

  /** Where memory is scarce, one message waits per stream. */
  protected override get maxQueuedBytes(): number {
    return this.memory.isAmple ? super.maxQueuedBytes : 1;
  }

  consumed(stream: ServerStream, unreadBytes: number, assembledBytes: number): void {
    const readBytes = stream.unreadBytes - unreadBytes;
    stream.unreadBytes = unreadBytes;
    stream.assembledBytes = assembledBytes;
    this.payOwed(stream, Math.min(readBytes, stream.owedBytes));
    this.hold(stream);
    const mustWait = assembledBytes > 0 && !this.mayAssemble(stream);
    this.credit(stream, mustWait ? unreadBytes + assembledBytes : unreadBytes);
    if (this.assembling === stream) this.assembleNext();
  }

  /** Gives the client window of the connection that was held back because the stream's messages were not read. */
  private payOwed(stream: ServerStream, bytes: number): void {
    stream.owedBytes -= bytes;
    if (bytes > 0 && !this.isEnded) this.creditConnection(bytes);
  }

  private mayAssemble(stream: ServerStream): boolean {
    if (this.memory.hasRoom(this.bufferedBytes)) return true;
    this.assembling ??= stream;
    if (this.assembling === stream) return true;
    this.waiting.add(stream);
    return false;
  }

  /** Lets the next streams go on if the message whose turn it is has arrived, or does not go on. */
  private assembleNext(): void {
    const { assembling } = this;
    const isDone = assembling === undefined || assembling.isClosed || assembling.assembledBytes === 0;
    if (isDone) this.assembling = undefined;
    else if (this.movedAt - assembling.movedAt > MAX_TURN_MS) {
      this.assembling = undefined;
      this.waiting.add(assembling);
    }
    for (const next of this.waiting) {
      const hasRoom = this.memory.hasRoom(this.bufferedBytes);
      if (!hasRoom && this.assembling !== undefined) return;
      this.waiting.delete(next);
      if (next.assembledBytes === 0) continue;
      if (!hasRoom) this.assembling = next;
      next.movedAt = this.movedAt;
      this.credit(next, next.unreadBytes);
    }
  }

  /** Counts what is buffered for a stream. */
  hold(stream: ServerStream): void {
    const { heldBytes } = stream;
    const inHeap = stream.keptInHeap + QUEUED_MESSAGE_BYTES * stream.queuedMessages;
    stream.heldBytes = stream.isClosed ? 0 : stream.bufferedBytes + this.memory.heapFactor * inHeap;
    this.bufferedBytes += stream.heldBytes - heldBytes;
    this.add(stream.heldBytes - heldBytes);
  }

  private holdBuffers(): void {
    if (this.isEnded) return;
    const before = this.bufferBytes;
    this.bufferBytes = this.reader.blockBytes + this.unsentBytes + (this.backlog?.length ?? 0);
    this.add(this.bufferBytes - before);
  }

  private add(bytes: number): void {
    if (bytes === 0) return;
    this.heldBytes += bytes;
    this.memory.add(bytes);
    if (bytes > 0 && this.memory.isExceeded) this.wake();
  }

  shed(details: string, what: Shed): void {
    const { memory, waiting } = this;
    if (what === 'connection') {
      const isEmpty = this.reader.blockBytes + this.unsentBytes === 0 && this.backlog === undefined;
      if (!isEmpty && this.streams.size === 0) this.endForViolation('memory-shed', ENHANCE_YOUR_CALM, details);
      return;
    }
    const stalledSince = this.clock.now() - STALLED_MS;
    const isGivenUp = (stream: ServerStream): boolean =>
      stream.movedAt < stalledSince && stream.awaitsClient && !waiting.has(stream);
    const largestFirst = this.streams
      .unordered()
      .filter((stream) => stream.heldBytes > 0 && (what === 'streams' || isGivenUp(stream)))
      .sort((a, b) => b.heldBytes - a.heldBytes);
    for (const stream of largestFirst) {
      if (memory.isRelieved) return;
      this.giveUp('memory-shed', stream, details);
    }
  }

  private giveUp(protection: TransportProtection, stream: ServerStream, details: string): void {
    if (protection === 'memory-shed') this.owner.memoryUsedUp?.(protection);
    // The client may send again what the application has not seen.
    this.endStream(protection, stream, stream.isDelivered ? ENHANCE_YOUR_CALM : REFUSED_STREAM, details);
    this.rememberReset(stream.id);
  }
}

/** Returns why a request is malformed (RFC 9113, section 8.3.1); `undefined` if it is not. The header list must be complete. */
function requestProblem(block: HeaderBlock, isEnd: boolean): string | undefined {
  const { malformed, method, scheme, path, status, te, contentLength } = block;
  if (malformed !== undefined) return malformed;
  if (method === undefined || method === '') return 'no :method';
  if (scheme === undefined || scheme === '') return 'no :scheme';
  if (path === undefined || path === '') return 'no :path';
  if (status !== undefined) return ':status in a request';
  if (te !== undefined && te.toLowerCase() !== 'trailers') return 'a field te other than trailers';
  if (contentLength === undefined) return undefined;
  if (!/^\d{1,15}$/.test(contentLength)) return 'the value of content-length';
  return isEnd && Number(contentLength) > 0 ? 'content-length without a body' : undefined;
}

/** Returns why a field block after a body is malformed (RFC 9113, section 8.1); `undefined` if it is not. */
function trailersProblem(block: HeaderBlock, isEnd: boolean): string | undefined {
  const { malformed, status, method, scheme, path, authority } = block;
  if (!isEnd) return 'trailers that do not end the stream';
  const pseudo = status ?? method ?? scheme ?? path ?? authority;
  return malformed ?? (pseudo === undefined ? undefined : 'a pseudo-header field in trailers');
}
