import type { Channel, Metadata, StatusObject } from '@grpc/grpc-js';
import type { EndpointAttempt } from '../connection/endpoints.js';
import { measuredOutcome } from '../../policy/balancing/measured-outcome.js';
import type { AttemptEvidence, WireEvidence } from '../../policy/evidence/attempt-evidence.js';
import { classify } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { readWire } from '../quirks/wire-evidence.js';
import type { WireChannel } from '../wire-channel.js';
import { pickedPeer } from './grpc-js-call.js';

type EndpointChannel = Pick<WireChannel, 'channel' | 'endpoints' | 'loads' | 'ready' | 'hasFreeStream'>;

/** Reports one attempt of a call from grpc-js's own client, as evidence about the attempt's endpoint. */
export class CallbackAttempt implements EndpointAttempt {
  readonly startedAt: number;
  code: number = StatusCode.OK;
  details = '';
  endedHere: AttemptEvidence['endedHere'] = 'no';
  headersReceived = false;
  messagesReceived = 0;
  channelReady = true;
  contentType: string | undefined;

  private constructor(
    private readonly call: ReturnType<Channel['createCall']>,
    private readonly wireChannel: EndpointChannel,
    /** True if the call is unary and starts immediately. */
    readonly measuresLatency: boolean,
    private readonly clock: Clock,
  ) {
    this.startedAt = clock.now();
    wireChannel.endpoints?.started(this);
  }

  /** Reports the start of an attempt. Returns `undefined` if no policy uses the evidence. */
  static start(
    call: ReturnType<Channel['createCall']>,
    wireChannel: EndpointChannel,
    isUnary: boolean,
    clock: Clock,
  ): CallbackAttempt | undefined {
    if (wireChannel.endpoints === undefined && wireChannel.loads === undefined) return undefined;
    // A call that cannot start immediately waits for a connection (in grpc-js) or for a stream (in Node).
    const startsNow = wireChannel.ready && wireChannel.hasFreeStream;
    return new CallbackAttempt(call, wireChannel, isUnary && startsNow, clock);
  }

  get peer(): string | undefined {
    return pickedPeer(this.call, this.wireChannel.channel);
  }

  get picked(): boolean {
    return this.peer !== undefined;
  }

  get wire(): WireEvidence | undefined {
    return readWire(this.call)?.evidence;
  }

  answered(headers: Metadata): void {
    this.headersReceived = true;
    this.readContentType(headers);
    this.wireChannel.endpoints?.answered(this);
  }

  /** @param endedHere reason why this side ended the attempt; 'no' if it did not */
  ended({ code, details, metadata }: StatusObject, endedHere: AttemptEvidence['endedHere']): void {
    const { wireChannel, peer } = this;
    this.code = code;
    this.details = details;
    this.endedHere = endedHere;
    this.channelReady = wireChannel.ready;
    if (!this.headersReceived) this.readContentType(metadata);
    if (this.measuresLatency && peer !== undefined && wireChannel.loads !== undefined) {
      const outcome = measuredOutcome(classify(this));
      if (outcome !== undefined) wireChannel.loads.measured(peer, this.clock.now() - this.startedAt, outcome);
    }
    wireChannel.endpoints?.ended(this);
  }

  private readContentType(headers: Metadata): void {
    this.contentType = headers.get('content-type')[0]?.toString();
  }
}
