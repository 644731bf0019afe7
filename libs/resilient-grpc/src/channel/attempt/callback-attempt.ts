import type { Channel, Metadata, StatusObject } from '@grpc/grpc-js';
import type { EndpointAttempt } from '../connection/endpoints.js';
import { measuredOutcome } from '../../policy/balancing/measured-outcome.js';
import type { AttemptEvidence, WireEvidence } from '../../policy/evidence/attempt-evidence.js';
import { classify, isAnswered } from '../../policy/evidence/classify.js';
import { isGrpcContentType } from '../../policy/evidence/http-response.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { connectionAddress, readWire } from '../quirks/wire-evidence.js';
import type { WireChannel } from '../wire-channel.js';
import { pickedPeer } from './grpc-js-call.js';

type EndpointChannel = Pick<WireChannel, 'channel' | 'endpoints' | 'loads' | 'ready' | 'hasFreeStream' | 'histories'>;

/** Reports one attempt of a call from grpc-js's own client, as evidence about the attempt's endpoint and connection. */
export class CallbackAttempt implements EndpointAttempt {
  readonly startedAt: number;
  code: number = StatusCode.OK;
  details = '';
  endedHere: AttemptEvidence['endedHere'] = 'no';
  headersReceived = false;
  messagesReceived = 0;
  channelReady = true;
  contentType: string | undefined;
  /** True if the call is unary and starts immediately. */
  readonly measuresLatency: boolean;
  /** True if the call waits in grpc-js for a connection. The connection then becomes READY after `startedAt`. */
  private readonly isEarly: boolean;
  private isAnswered = false;

  /** Reports the start of an attempt. */
  constructor(
    private readonly call: ReturnType<Channel['createCall']>,
    private readonly wireChannel: EndpointChannel,
    isUnary: boolean,
    private readonly clock: Clock,
    /** Called once, when the server begins to respond. */
    private readonly onAnswered: () => void,
  ) {
    this.startedAt = clock.now();
    this.isEarly = !wireChannel.ready;
    // False if the call cannot start immediately: its latency would include the wait for a connection (in grpc-js) or a stream (in Node).
    this.measuresLatency = isUnary && !this.isEarly && wireChannel.hasFreeStream;
    wireChannel.endpoints?.started(this);
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
    // Reports only gRPC responses, because other responses come from a proxy or a web server.
    if (this.contentType !== undefined && isGrpcContentType(this.contentType)) this.reportResponse();
  }

  /** @param endedHere reason why this side ended the attempt; 'no' if it did not */
  ended({ code, details, metadata }: StatusObject, endedHere: AttemptEvidence['endedHere']): void {
    const { wireChannel, peer } = this;
    this.code = code;
    this.details = details;
    this.endedHere = endedHere;
    this.channelReady = wireChannel.ready;
    if (!this.headersReceived) this.readContentType(metadata);
    // Reports a trailers-only response, which has no headers, so `answered()` was not called.
    if (!this.isAnswered && isAnswered(this, classify(this))) this.reportResponse();
    if (this.measuresLatency && peer !== undefined && wireChannel.loads !== undefined) {
      const outcome = measuredOutcome(classify(this));
      if (outcome !== undefined) wireChannel.loads.measured(peer, this.clock.now() - this.startedAt, outcome);
    }
    wireChannel.endpoints?.ended(this);
  }

  private reportResponse(): void {
    this.isAnswered = true;
    const { histories } = this.wireChannel;
    if (histories.isUndecided) {
      const address = connectionAddress(this.call, false) ?? this.peer;
      histories.answeredTo(address, this.isEarly ? Infinity : this.startedAt);
    }
    this.onAnswered();
  }

  private readContentType(headers: Metadata): void {
    this.contentType = headers.get('content-type')[0]?.toString();
  }
}
