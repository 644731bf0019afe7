import { type DynamicModule, Module } from '@nestjs/common';
import { type ClientGrpc, ClientsModule, Transport } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import type { UpstreamGroup } from '../chaos/upstream-group.js';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { PATIENCE } from '../patience.js';
import { type ContenderSetup, OUTAGE_SETUP } from './contender-setup.js';
import type { Contender } from './contender.js';
import { NestContender } from './nest-contender.js';
import { RESILIENT_CLIENT, ResilientContender } from './resilient-contender.js';
import { PlainStreams, ResilientStreams, type StreamContender, TunedStreams } from './stream-contenders.js';

const PLAIN_CLIENT = Symbol('plain ClientGrpc');
const TUNED_CLIENT = Symbol('tuned ClientGrpc');

const IPV4 = 'ipv4:';
/** Default outage grace period of this library's client. */
const OUTAGE_GRACE_MS = 5_000;

/** Token of the contenders, in the order of {@link CONTENDER_NAMES}. */
export const CONTENDERS = Symbol('contenders');

/** Token of the stream contenders, in the same order. */
export const STREAM_CONTENDERS = Symbol('stream contenders');

/** The upstream that the contenders call. */
export type CalledUpstream = UpstreamProcess | UpstreamGroup;

/** Provides all contenders for the same upstream. */
@Module({})
export class ContendersModule {
  static forUpstream(upstream: CalledUpstream, setup: ContenderSetup = OUTAGE_SETUP): DynamicModule {
    const { url } = upstream;
    return {
      module: ContendersModule,
      imports: [
        ClientsModule.register([
          { name: PLAIN_CLIENT, transport: Transport.GRPC, options: { ...ORDERS_CONTRACT, url, ...setup.plain } },
          {
            name: TUNED_CLIENT,
            transport: Transport.GRPC,
            // grpc-js keeps one retry throttle per target string, and a client without a throttle deletes the throttle of other clients
            // with the same string. The prefix `ipv4:` prevents this: the same address then has a different string. A group's target
            // already has this prefix and is kept, because the clients of a group have no throttle.
            options: { ...ORDERS_CONTRACT, url: url.startsWith(IPV4) ? url : IPV4 + url, ...setup.tuned },
          },
        ]),
        ResilientGrpcModule.forFeature([
          {
            ...ORDERS_CONTRACT,
            name: RESILIENT_CLIENT,
            url,
            timeoutMs: setup.callTimeoutMs,
            ...(PATIENCE > 1 && { outageGraceMs: OUTAGE_GRACE_MS * PATIENCE }),
            ...setup.resilient,
          },
        ]),
      ],
      providers: [
        ResilientContender,
        ResilientStreams,
        // The upstream is a provider, so that it stops when the application shuts down.
        { provide: upstream.constructor, useValue: upstream },
        {
          provide: CONTENDERS,
          inject: [PLAIN_CLIENT, TUNED_CLIENT, ResilientContender],
          useFactory: (plain: ClientGrpc, tuned: ClientGrpc, resilient: ResilientContender): Contender[] => [
            new NestContender('plain', plain, setup.callTimeoutMs),
            new NestContender('tuned', tuned, setup.callTimeoutMs),
            resilient,
          ],
        },
        {
          provide: STREAM_CONTENDERS,
          inject: [PLAIN_CLIENT, TUNED_CLIENT, ResilientStreams],
          useFactory: (plain: ClientGrpc, tuned: ClientGrpc, resilient: ResilientStreams): StreamContender[] => [
            new PlainStreams(plain),
            new TunedStreams(tuned),
            resilient,
          ],
        },
      ],
      exports: [CONTENDERS, STREAM_CONTENDERS, upstream.constructor, ResilientGrpcModule],
    };
  }
}
