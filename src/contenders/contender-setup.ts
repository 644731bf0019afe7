import type { GrpcOptions } from '@nestjs/microservices';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { TUNED_OPTIONS } from './tuned-options.js';

/** What the contenders are given besides address and contract. The plain one is given nothing. */
export interface ContenderSetup {
  /** What the tuned client has, in the words of the table and the page. */
  readonly tunedTitle: string;
  readonly tuned: Pick<GrpcOptions['options'], 'channelOptions' | 'keepalive'>;
  readonly resilient: Pick<GrpcClientSettings, 'serviceConfig'>;
  /** Deadline of each call, for the plain one too. @defaultValue none */
  readonly callTimeoutMs?: number | undefined;
}

/** Against lost connections: ours needs no options for them. */
export const OUTAGE_SETUP: ContenderSetup = {
  tunedTitle: '+ retryPolicy, keepalive',
  tuned: TUNED_OPTIONS,
  resilient: {},
};
