import type { Seam } from './seam.js';

/** Names for the load-balancing policy that observes each connection. */
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
    'single connections (connect timeout, early reconnects, pauses after connections that end at once, search for dead connections, resends after GOAWAY)',
};

/** Names for the connector that receives each socket. */
export const CONNECTOR_SEAM: Seam = {
  on: 'credentials',
  needs: ['_createSecureConnector()', '_equals()', '_isSecure()'],
  lostWithout: 'sockets (connect timeout, TCP keepalive, search for dead connections, causes of lost connections)',
};

/** Names of the connector that the credentials create. */
export const SOCKET_SEAM: Seam = {
  on: 'connector',
  needs: ['waitForReady()', 'connect()', 'getCallCredentials()', 'destroy()'],
  lostWithout: CONNECTOR_SEAM.lostWithout,
};

/** Private names of grpc-js and Node that a client needs, with the features that are off without them. Shown in docs/compatibility.md. */
export const CLIENT_SEAMS: readonly Seam[] = [
  // Probed when the first client starts.
  POLICY_SEAM,
  CONNECTOR_SEAM,
  {
    on: 'experimental',
    needs: ['BaseSubchannelWrapper.prototype.getChannel()'],
    lostWithout: 'calls on one connection (search for dead connections, a Watch of health)',
  },
  {
    on: 'experimental',
    needs: ['parseLoadBalancingConfig()'],
    lostWithout: 'the check of loadBalancingConfig at the start',
  },
  {
    on: 'experimental',
    needs: ['createResolver()'],
    lostWithout: 'credentials in the targets of resolvers that the application registers',
  },
  { on: 'experimental', needs: ['BaseFilter()'], lostWithout: 'compressed sizes in telemetry' },
  {
    on: 'channel',
    needs: ['internalChannel.subchannelPool.unrefUnusedSubchannels()'],
    lostWithout: 'the immediate close of idle connections (up to 10 s later)',
  },
  // Probed at the first connection.
  SOCKET_SEAM,
  { on: 'connection', needs: ['resetBackoff()'], lostWithout: 'early reconnects' },
  { on: 'connection', needs: ['backoffTimeout.getEndTime()'], lostWithout: 'the time of the next try in errors' },
  {
    on: 'connection',
    needs: ['transport.session', 'transport.activeCalls', 'transport.addDisconnectListener()'],
    lostWithout:
      'evidence from connections (resends after GOAWAY, causes of lost connections, search for dead connections)',
  },
  {
    on: 'connection',
    needs: ['transport.session.[kHandle].hasPendingData()', 'transport.session.[state].streams'],
    lostWithout:
      'the search for connections that a protocol error has stopped (calls on them wait for their deadlines)',
  },
  {
    on: 'socket',
    needs: ['_handle.getpeername()'],
    lostWithout: 'the search for resets that Node overlooks under TLS',
  },
  // Probed at the first Watch of health.
  {
    on: 'call on one connection',
    needs: ['options.host'],
    lostWithout: 'grpc.default_authority for a Watch of health',
  },
  // Probed at the first call that fails after a response, and at the first call with telemetry.
  {
    on: 'call',
    needs: [
      'child.underlyingCalls.0.call.child.http2Stream',
      'child.underlyingCalls.0.call.child.finalStatus',
      'child.underlyingCalls.0.call.child.httpStatusCode',
      'child.underlyingCalls.0.call.child.connectionDropped',
      'child.underlyingCalls.0.call.child.transport',
    ],
    lostWithout: 'evidence from streams (resends after GOAWAY, HTTP statuses of proxies)',
  },
  {
    on: 'call with telemetry',
    needs: ['filterStackFactory.createFilter()'],
    lostWithout: 'compressed sizes in telemetry',
  },
];
