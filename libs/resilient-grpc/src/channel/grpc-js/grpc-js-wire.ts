import type { Channel } from '@grpc/grpc-js';
import type { AttemptListener, AttemptRequest } from '../../call/attempt.js';
import type { ConnectionSnapshot } from '../../call/connectivity.js';
import { firstBackoffMs } from '../../policy/reconnect/reconnect-times.js';
import type { Clock } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { connectFailure, type ConnectFailure } from '../connection/connect-failure.js';
import { supported } from '../connection/load-balancing-policy.js';
import { ChannelWire } from '../wire/channel-wire.js';
import type { ConnectionEvent, Wire, WireSettings } from '../wire/wire.js';
import { GrpcJsAttempt } from './grpc-js-attempt.js';

/** The way back: connections of grpc-js. */
export class GrpcJsWire extends ChannelWire {
  readonly transport = 'grpc-js';
  readonly channel: Channel;
  readonly endpoints = undefined;
  readonly loads = undefined;
  readonly connections: readonly ConnectionSnapshot[] = [];
  readonly connecting = undefined;
  readonly hasFreeStream = true;
  readonly streamCapacity = undefined;
  readonly nextLookupAt = undefined;

  constructor(
    settings: WireSettings,
    handle: (from: Wire, event: ConnectionEvent) => void,
    clock: Clock,
    random: Random,
  ) {
    super(settings, handle, clock, random);
    const { channelOptions, loadBalancing } = settings;
    const { 'grpc.max_reconnect_backoff_ms': maxBackoffMs = Infinity } = channelOptions;
    this.channel = this.openChannel(
      { 'grpc.initial_reconnect_backoff_ms': firstBackoffMs(maxBackoffMs, random), ...channelOptions },
      loadBalancing.map((policy) => supported(policy, false)),
    );
    this.watchPublicState();
  }

  protected startDirectly(request: AttemptRequest, listener: AttemptListener, now: number): GrpcJsAttempt {
    return new GrpcJsAttempt(this, request, listener, this.clock, now).begin();
  }

  protected publicFailure(): ConnectFailure {
    return connectFailure('other', undefined, 'the connection failed');
  }
}
