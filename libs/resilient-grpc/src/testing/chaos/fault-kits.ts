import type { ChildServer } from '../child-process-server.js';
import type { FaultProxy } from '../fault-proxy/fault-proxy.js';
import type { Http2FaultProxy } from '../http2-faults/http2-fault-proxy.js';
import type { CallFault } from '../http2-faults/http2-faults.js';
import { selectFaults } from './chaos-fault.js';
import type { ChaosFault, ChaosWeights } from './chaos-fault.js';
import type { RangeMs } from './plan-chaos.js';

const SHORT_MS: RangeMs = [100, 500];
const LONG_MS: RangeMs = [200, 1_000];

/**
 * The name of a network fault. 'reset', 'close': every connection ends (RST or FIN). 'outage': connections are reset, and new ones are
 * refused. 'black-hole': no bytes pass on existing or new connections. 'cut': at most one connection is reset, in the middle of a frame
 * from the server. 'delay': bytes are delayed by 100 ms in each direction.
 */
export type NetworkFaultName = 'reset' | 'close' | 'outage' | 'black-hole' | 'cut' | 'delay';

/**
 * Returns the network faults, or only those with a weight: `networkFaults(proxy, { reset: 3, outage: 1 })`. When a fault ends, it
 * resets the proxy settings that it uses, including values that you have set yourself, such as a delay.
 * @throws GrpcConfigurationError if a weight has an unknown name or is invalid
 */
export function networkFaults(proxy: FaultProxy, weights?: ChaosWeights<NetworkFaultName>): readonly ChaosFault[] {
  return selectFaults(
    'networkFaults',
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
      // A cut after 5 bytes falls in the middle of a 9-byte frame header.
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
 * The name of an HTTP/2 fault of a server or proxy. 'goaway': every connection receives GOAWAY and drains. 'unprocessed': a GOAWAY rejects
 * at most one call as unprocessed. 'refused': up to three streams are refused (REFUSED_STREAM). 'reset': up to two calls are reset when the
 * server has started to respond. 'missing-trailers': up to two responses end without trailers. 'stream-limit': each connection allows one
 * stream at a time. 'held-settings': connections drain, and new ones receive no SETTINGS and are unusable.
 */
export type Http2FaultName =
  'goaway' | 'unprocessed' | 'refused' | 'reset' | 'missing-trailers' | 'stream-limit' | 'held-settings';

/**
 * Returns the HTTP/2 faults, or only those with a weight. Their names in a plan start with 'http2-'.
 * @throws GrpcConfigurationError if a weight has an unknown name or is invalid
 */
export function http2Faults(proxy: Http2FaultProxy, weights?: ChaosWeights<Http2FaultName>): readonly ChaosFault[] {
  const failing = (fault: CallFault, times: number) => {
    let removeFault: (() => void) | undefined;
    return {
      forMs: SHORT_MS,
      begin: () => {
        removeFault = proxy.failCalls(fault, { times });
      },
      end: () => removeFault?.(),
    };
  };
  return selectFaults(
    'http2Faults',
    {
      goaway: { begin: () => void proxy.goaway() },
      unprocessed: failing({ kind: 'goaway' }, 1),
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

/**
 * The name of a server process fault. 'kill': the process is killed, and restarted at the end of the fault. 'freeze': the process is frozen
 * until the end of the fault. 'restart': the process is terminated gracefully, or killed after 2 s, and started again.
 */
export type ServerFaultName = 'kill' | 'freeze' | 'restart';

/**
 * Returns the faults of a server process, or only those with a weight.
 * @throws GrpcConfigurationError if a weight has an unknown name or is invalid
 */
export function serverFaults(server: ChildServer, weights?: ChaosWeights<ServerFaultName>): readonly ChaosFault[] {
  return selectFaults(
    'serverFaults',
    {
      kill: { forMs: LONG_MS, begin: () => server.kill(), end: () => server.restart() },
      freeze: { forMs: LONG_MS, begin: () => server.freeze(), end: () => server.thaw() },
      restart: {
        // Ignores the error of a server that does not terminate in time, because `restart()` kills it.
        begin: () => server.terminate(2_000).catch(() => undefined),
        end: () => server.restart(),
      },
    },
    weights,
  );
}
