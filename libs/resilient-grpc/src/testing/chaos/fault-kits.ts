import type { ChildServer } from '../child-process-server.js';
import type { FaultProxy } from '../fault-proxy/fault-proxy.js';
import type { Http2FaultProxy } from '../http2-faults/http2-fault-proxy.js';
import type { CallFault } from '../http2-faults/http2-faults.js';
import { chosen } from './chaos-fault.js';
import type { ChaosFault, ChaosWeights } from './chaos-fault.js';
import type { RangeMs } from './plan-chaos.js';

const SHORT_MS: RangeMs = [100, 500];
const LONG_MS: RangeMs = [200, 1_000];

/**
 * What a network does. 'reset', 'close': every connection ends. 'outage': besides, new ones are refused. 'black-hole': no byte
 * passes, on connections old and new. 'cut': one connection is torn in the middle of an answer. 'delay': 100 ms each way.
 */
export type NetworkFaultName = 'reset' | 'close' | 'outage' | 'black-hole' | 'cut' | 'delay';

/**
 * The faults of a network, or those with a weight: `networkFaults(proxy, { reset: 3, outage: 1 })`. The end of each undoes what
 * it did; of a setting that it shares with one of yours, such as the delay, nothing is left.
 */
export function networkFaults(proxy: FaultProxy, weights?: ChaosWeights<NetworkFaultName>): readonly ChaosFault[] {
  return chosen(
    {
      reset: { begin: () => void proxy.resetAll() },
      close: { begin: () => void proxy.closeAll() },
      outage: {
        forMs: LONG_MS,
        begin: () => {
          proxy.refuse();
          proxy.resetAll();
        },
        end: () => proxy.forward(),
      },
      'black-hole': {
        forMs: LONG_MS,
        begin: () => {
          proxy.holdBytes();
          return proxy.staySilent();
        },
        end: async () => {
          proxy.releaseBytes();
          await proxy.forward();
          proxy.resetSilenced();
        },
      },
      // In the middle of the 9 bytes that begin a frame.
      cut: {
        forMs: SHORT_MS,
        begin: () => proxy.closeAfterBytes(5, 'to-client'),
        end: () => proxy.closeAfterBytes(Infinity, 'to-client'),
      },
      delay: { forMs: LONG_MS, begin: () => proxy.delay(100), end: () => proxy.delay(0) },
    },
    weights,
  );
}

/**
 * What servers and proxies do with HTTP/2. 'goaway': every connection is drained. 'disowned': by a GOAWAY one call was never
 * seen. 'refused': three streams are refused. 'reset', 'missing-trailers': two calls lose their answer after the server has
 * made it. 'stream-limit': one stream a connection. 'held-settings': connections are drained, and new ones not usable.
 */
export type Http2FaultName =
  'goaway' | 'disowned' | 'refused' | 'reset' | 'missing-trailers' | 'stream-limit' | 'held-settings';

/** The faults of HTTP/2, or those with a weight; their names in a plan begin with 'http2-'. */
export function http2Faults(proxy: Http2FaultProxy, weights?: ChaosWeights<Http2FaultName>): readonly ChaosFault[] {
  const failing = (fault: CallFault, times: number) => {
    let takeBack: (() => void) | undefined;
    return {
      forMs: SHORT_MS,
      begin: () => {
        takeBack = proxy.failCalls(fault, { times });
      },
      end: () => takeBack?.(),
    };
  };
  return chosen(
    {
      goaway: { begin: () => void proxy.goaway() },
      disowned: failing({ kind: 'goaway' }, 1),
      refused: failing({ kind: 'reset', code: 'REFUSED_STREAM' }, 3),
      reset: failing({ kind: 'reset', code: 'INTERNAL_ERROR', at: 'headers' }, 2),
      'missing-trailers': failing({ kind: 'missing-trailers' }, 2),
      'stream-limit': {
        forMs: LONG_MS,
        begin: () => proxy.limitStreams(1),
        end: () => proxy.limitStreams(undefined),
      },
      'held-settings': {
        forMs: LONG_MS,
        begin: () => {
          proxy.holdSettings();
          proxy.goaway();
        },
        end: () => proxy.releaseSettings(),
      },
    },
    weights,
  ).map((fault) => ({ ...fault, name: `http2-${fault.name}` }));
}

/** What happens to a process: killed and away for a while, frozen for a while, ended in order and started again. */
export type ServerFaultName = 'kill' | 'freeze' | 'restart';

/** The faults of a server's process, or those with a weight. */
export function serverFaults(server: ChildServer, weights?: ChaosWeights<ServerFaultName>): readonly ChaosFault[] {
  return chosen(
    {
      kill: { forMs: LONG_MS, begin: () => server.kill(), end: () => server.restart() },
      freeze: { forMs: LONG_MS, begin: () => server.freeze(), end: () => server.thaw() },
      restart: {
        // One that does not end in order is killed by its next start.
        begin: () => server.terminate(2_000).catch(() => undefined),
        end: () => server.restart(),
      },
    },
    weights,
  );
}
