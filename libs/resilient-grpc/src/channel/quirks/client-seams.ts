import type { Seam } from './seam.js';

/** Names needed by the policy that observes each connection. */
export const POLICY_SEAM: Seam = {
  on: 'experimental',
  needs: [
    'registerLoadBalancerType()',
    'isLoadBalancerNameRegistered()',
    'UnavailablePicker()',
    'createChildChannelControlHelper()',
    'ChildLoadBalancerHandler()',
    'BaseSubchannelWrapper()',
    'BaseSubchannelWrapper.prototype.getRealSubchannel()',
    'selectLbConfigFromList()',
  ],
  lostWithout:
    'observation of individual connections (connect timeout, early reconnects, hold-off after connections that close immediately, dead-connection detection, health Watch, disconnect reasons, connection events and metrics, time of the next connection attempt in errors), features of endpoints (least_request, ejection, health checks, dnsRefreshMs, maxConnectionsPerEndpoint, retries on another endpoint), and calls directly on a connection',
};

/** Names needed by `least_request`. */
export const LEAF_SEAM: Seam = {
  on: 'experimental',
  needs: ['LeafLoadBalancer()', 'QueuePicker()'],
  lostWithout: "loadBalancing: 'least_request' (round_robin is used instead)",
};

/** Names needed to remove endpoints from the pick set. */
export const ENDPOINT_SEAM: Seam = {
  on: 'experimental',
  needs: ['QueuePicker()', 'BaseSubchannelWrapper.prototype.setHealthy()'],
  lostWithout: 'ejection and health checks of endpoints (ejectUnhealthy, outlier detection, healthCheckConfig)',
};

/** Names needed by calls on one connection. Without them, health is not checked, because no endpoint could report SERVING. */
export const CONNECTION_CALL_SEAM: Seam = {
  on: 'experimental',
  needs: ['BaseSubchannelWrapper.prototype.getChannel()'],
  lostWithout: 'calls on one connection (dead-connection detection, health Watch)',
};

/** Names needed by the connector that receives each socket. */
export const CONNECTOR_SEAM: Seam = {
  on: 'credentials',
  needs: ['_createSecureConnector()', '_equals()', '_isSecure()'],
  lostWithout: 'access to sockets (connect timeout, TCP keepalive, dead-connection detection, disconnect reasons)',
};

/** Names of the connector that the credentials create. */
export const SOCKET_SEAM: Seam = {
  on: 'connector',
  needs: ['waitForReady()', 'connect()', 'getCallCredentials()', 'destroy()'],
  lostWithout: CONNECTOR_SEAM.lostWithout,
};

/** Names needed by calls created on a connection instead of on the channel. */
export const DIRECT_SEAM: Seam = {
  on: 'channel',
  needs: ['internalChannel.onCallStart()', 'internalChannel.onCallEnd()', 'internalChannel.defaultAuthority'],
  lostWithout:
    "calls directly on a connection (instead, calls pass through grpc-js's channel, which uses more CPU time)",
};

const EVIDENCE_OF_STREAMS = 'evidence from streams (resends after GOAWAY, HTTP statuses from proxies)';

/** Private names of grpc-js and Node that a client needs, with the features that are off without them; see docs/internals/private-names.md. */
export const CLIENT_SEAMS: readonly Seam[] = [
  // Probed when the first client starts.
  POLICY_SEAM,
  LEAF_SEAM,
  ENDPOINT_SEAM,
  CONNECTOR_SEAM,
  CONNECTION_CALL_SEAM,
  {
    on: 'experimental',
    needs: ['parseLoadBalancingConfig()'],
    lostWithout: 'validation of loadBalancingConfig at startup',
  },
  {
    on: 'experimental',
    needs: ['createResolver()'],
    lostWithout:
      'acceptance of credentials in the targets of custom resolvers; direct calls and `round_robin` for `kubernetes:` targets',
  },
  {
    on: 'experimental',
    needs: ['registerResolver()'],
    lostWithout: '`kubernetes:` targets',
  },
  {
    on: 'channel',
    needs: ['internalChannel.subchannelPool.unrefUnusedSubchannels()'],
    lostWithout: 'immediate closing of idle connections (they close up to 10 s later)',
  },
  DIRECT_SEAM,
  // Probed at the first connection.
  SOCKET_SEAM,
  { on: 'connection', needs: ['createCall()'], lostWithout: DIRECT_SEAM.lostWithout },
  { on: 'connection', needs: ['resetBackoff()'], lostWithout: 'early reconnects' },
  {
    on: 'connection',
    needs: ['backoffTimeout.getEndTime()'],
    lostWithout: 'time of the next connection attempt in errors',
  },
  {
    on: 'connection',
    needs: ['connector.tcpConnect()'],
    lostWithout: 'connect timeout while an HTTP proxy does not respond, and the reason why a proxy failed',
  },
  {
    on: 'connection',
    needs: ['transport.session', 'transport.activeCalls', 'transport.addDisconnectListener()'],
    lostWithout:
      'evidence from connections (resends after GOAWAY, disconnect reasons, dead-connection detection, stream limits), and long calls on removed addresses (they fail after one keepalive interval)',
  },
  {
    on: 'connection',
    needs: ['transport.addActiveCall()', 'transport.removeActiveCall()'],
    lostWithout: 'automatic exit of a process while a client that checks health is open',
  },
  {
    on: 'connection',
    needs: ['transport.session.[kHandle].hasPendingData()', 'transport.session.[state].streams'],
    lostWithout:
      'detection of connections that stopped after a protocol error (calls on them wait until their deadlines)',
  },
  {
    on: 'socket',
    needs: ['_handle.getpeername()'],
    lostWithout: 'detection of resets that Node misses under TLS',
  },
  // Probed at the first health Watch.
  {
    on: 'call on one connection',
    needs: ['options.host'],
    lostWithout: 'grpc.default_authority for a health Watch',
  },
  // Probed at the first call that fails after headers or trailers arrived.
  {
    on: 'call',
    needs: [
      'child.underlyingCalls.0.call.child.http2Stream',
      'child.underlyingCalls.0.call.child.finalStatus',
      'child.underlyingCalls.0.call.child.httpStatusCode',
      'child.underlyingCalls.0.call.child.connectionDropped',
      'child.underlyingCalls.0.call.child.transport',
    ],
    lostWithout: EVIDENCE_OF_STREAMS,
  },
  {
    on: 'direct call',
    needs: ['http2Stream', 'finalStatus', 'httpStatusCode', 'connectionDropped', 'transport'],
    lostWithout: EVIDENCE_OF_STREAMS,
  },
];
