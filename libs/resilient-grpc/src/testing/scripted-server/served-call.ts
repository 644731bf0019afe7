import { once } from 'node:events';
import type { Metadata, ServerDuplexStream } from '@grpc/grpc-js';
import { toMetadata } from '../../channel/wire/metadata-input.js';
import { isError } from '../../errors/error-message.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';
import { StatusCode, statusName } from '../../status/status-code.js';
import { systemClock } from '../../time/clock.js';
import { Wait } from '../../time/wait.js';
import type { CallJournal, OpenRecord } from './call-journal.js';
import { requireMessage, type CheckedScript } from './checked-script.js';
import type { Reply, ScriptedCall } from './script.js';
import type { LoadedMethod } from './service-methods.js';

export type DuplexCall = ServerDuplexStream<unknown, unknown>;

export class ServedCall {
  readonly path: string;
  private readonly record: OpenRecord;
  private readonly over = new AbortController();
  private readonly scripted: ScriptedCall;
  private resume: (() => void) | undefined;
  private wait: Wait | undefined;
  private onReadable = (): void => undefined;
  private haveRequestsEnded = false;

  /** @param isConnected returns true if the connection from `peer` is still open */
  constructor(
    private readonly method: LoadedMethod,
    private readonly call: DuplexCall,
    journal: CallJournal,
    isConnected: (peer: string) => boolean,
  ) {
    const { path } = method;
    const { metadata } = call;
    const record: OpenRecord = {
      path,
      method: path.slice(path.lastIndexOf('/') + 1),
      metadata,
      peer: call.getPeer(),
      previousAttempts: Number(metadata.get('grpc-previous-rpc-attempts')[0] ?? 0),
      at: systemClock.epoch(),
      requests: [],
      outcome: 'open',
      code: undefined,
    };
    this.path = path;
    this.record = record;
    this.scripted = {
      path,
      method: record.method,
      metadata,
      peer: record.peer,
      previousAttempts: record.previousAttempts,
      number: journal.begin(record),
      deadline: Number(call.getDeadline()),
      get request() {
        return record.requests[0];
      },
      requests: { [Symbol.asyncIterator]: () => this.requests() },
      signal: this.over.signal,
    };
    // grpc-js emits 'cancelled' at the end of every call, even after this server has sent a status.
    call.once('cancelled', () => {
      const lost = isConnected(record.peer) ? 'cancelled' : 'disconnected';
      journal.end(record, record.code === undefined ? lost : 'answered');
      this.over.abort();
      this.release();
      this.wait?.end();
    });
    call.on('readable', () => this.onReadable());
    for (const end of ['end', 'close', 'cancelled']) {
      call.once(end, () => {
        this.haveRequestsEnded = true;
        this.onReadable();
      });
    }
  }

  get isHeld(): boolean {
    return this.resume !== undefined;
  }

  release(): void {
    const { resume } = this;
    this.resume = undefined;
    resume?.();
  }

  async serve(script: CheckedScript): Promise<void> {
    const { call, method, record, path } = this;
    if (!method.requestStream) await this.readAll();
    if (this.hasEnded()) return;
    try {
      await this.reply(await script(this.scripted));
    } catch (error) {
      // An error with a code is sent unchanged.
      const given = isError(error) && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
      record.code = given ?? StatusCode.INTERNAL;
      const text = `script of ${path} threw ${String(error)}`;
      call.emit('error', given === undefined ? Object.assign(new Error(text), { code: record.code }) : error);
    }
  }

  private hasEnded(): boolean {
    return this.over.signal.aborted;
  }

  /** Sends `reply`. Stops without an error when the call has ended. */
  private async reply(reply: Reply): Promise<void> {
    const { call, method } = this;
    await this.readRequests(reply);
    await this.pause(reply.delayMs);
    if (reply.hold === 'everything') await this.hold();
    if (this.hasEnded()) return;
    if (reply.headers !== undefined) call.sendMetadata(toMetadata(reply.headers === true ? {} : reply.headers));
    if (reply.hold === 'messages') await this.hold();
    await this.sendMessages(reply);
    if (reply.hold === 'status') await this.hold();
    if (this.hasEnded() || reply.never === true) return;
    const code = codeOf(reply);
    this.record.code = code;
    if (code === StatusCode.OK) {
      call.end(trailersOf(reply));
      return;
    }
    const details = reply.details ?? statusName(code);
    call.emit('error', Object.assign(new Error(details), { code, details, metadata: trailersOf(reply) }));
    // Discards the remaining requests, which would otherwise stay buffered if the client were still sending.
    if (method.requestStream && reply.requests !== 'leave') call.resume();
  }

  private async sendMessages(reply: Reply): Promise<void> {
    const { call, method, over } = this;
    const { messages } = reply;
    let sent = 0;
    for await (const message of this.messagesOf(reply)) {
      if (this.hasEnded()) return;
      // Other messages were checked with their reply.
      if (messages !== undefined && !Array.isArray(messages)) requireMessage(method, message, sent);
      sent += 1;
      // Ignores the rejection of `once`, which means that the call ended before 'drain'.
      if (!call.write(message)) await once(call, 'drain', { signal: over.signal }).catch(() => undefined);
      await this.pause(reply.intervalMs);
    }
  }

  private messagesOf(reply: Reply): Iterable<unknown> | AsyncIterable<unknown> {
    const { message, messages } = reply;
    if (messages !== undefined) return typeof messages === 'function' ? messages(this.scripted) : messages;
    if (message !== undefined) return [message];
    const needsMessage = codeOf(reply) === StatusCode.OK && !this.method.responseStream && reply.never !== true;
    return needsMessage ? [{}] : [];
  }

  private async readRequests(reply: Reply): Promise<void> {
    const { requestStream, responseStream } = this.method;
    if (!requestStream) return;
    const how = reply.requests ?? (responseStream ? 'read' : 'await');
    if (how === 'await') await this.readAll();
    // A `messages` function may read the requests itself, and two readers would split them.
    else if (how === 'read' && typeof reply.messages !== 'function') void this.readAll();
  }

  private async readAll(): Promise<void> {
    const requests = this.requests();
    while (!(await requests.next()).done);
  }

  /** Reads the requests one at a time and only on demand, so that flow control works. */
  private async *requests(): AsyncGenerator<unknown, void, undefined> {
    for (;;) {
      // `null` means that no request has arrived yet, or that the requests have ended.
      const request: unknown = this.call.read();
      if (request !== null) {
        this.record.requests.push(request);
        yield request;
      } else if (this.haveRequestsEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.onReadable = resolve;
        });
      }
    }
  }

  private async hold(): Promise<void> {
    if (this.hasEnded()) return;
    await new Promise<void>((resolve) => {
      this.resume = resolve;
    });
  }

  private async pause(ms = 0): Promise<void> {
    if (ms === 0 || this.hasEnded()) return;
    this.wait = new Wait(systemClock, ms);
    await this.wait.over;
  }
}

function codeOf({ status = 'OK' }: Reply): number {
  return typeof status === 'string' ? StatusCode[status] : status;
}

function trailersOf({ trailers, pushback = [] }: Reply): Metadata {
  const metadata = toMetadata(trailers ?? {});
  for (const value of [pushback].flat()) metadata.add(PUSHBACK_KEY, String(value));
  return metadata;
}
