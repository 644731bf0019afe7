import * as grpcJs from '@grpc/grpc-js';
import { experimental } from './experimental.js';
import { isPresent, type Seam } from './seam.js';

const TRANSPORT =
  "the library's HTTP/2 transport (transport: 'grpc-js' is used instead), which provides evidence about lost calls, early reconnects, stream limits, ejection, and health checks of endpoints";

/**
 * Names that the library's transport needs. grpc-js chooses among our connections through its experimental API; the private names secure
 * connections and count calls. If one is missing, clients run on grpc-js's own transport.
 */
const EXPERIMENTAL_SEAM: Seam = {
  on: 'experimental',
  needs: [
    'registerLoadBalancerType()',
    'isLoadBalancerNameRegistered()',
    'selectLbConfigFromList()',
    'createChildChannelControlHelper()',
    'createResolver()',
    'ChildLoadBalancerHandler()',
    'LeafLoadBalancer()',
    'BackoffTimeout()',
    'QueuePicker()',
    'UnavailablePicker()',
    'BaseSubchannelWrapper.prototype.getRealSubchannel()',
    'BaseSubchannelWrapper.prototype.setHealthy()',
    'BaseSubchannelWrapper.prototype.realSubchannelEquals()',
  ],
  lostWithout: TRANSPORT,
};
const CREDENTIALS_SEAM: Seam = {
  on: 'credentials',
  needs: ['_createSecureConnector()', '_isSecure()'],
  lostWithout: TRANSPORT,
};
const CHANNEL_SEAM: Seam = {
  on: 'channel',
  needs: ['internalChannel.onCallStart()', 'internalChannel.onCallEnd()', 'internalChannel.defaultAuthority'],
  lostWithout: TRANSPORT,
};

/** Names of grpc-js and Node that are not in their public API, with the features that are off without them. */
export const CLIENT_SEAMS: readonly Seam[] = [
  EXPERIMENTAL_SEAM,
  CREDENTIALS_SEAM,
  CHANNEL_SEAM,
  {
    on: 'experimental',
    needs: ['parseLoadBalancingConfig()'],
    lostWithout: 'validation of loadBalancingConfig at startup',
  },
  {
    on: 'experimental',
    needs: ['createResolver()'],
    lostWithout:
      'acceptance of credentials in the targets of custom resolvers; `round_robin` for `kubernetes:` targets',
  },
  {
    on: 'experimental',
    needs: ['registerResolver()'],
    lostWithout: '`kubernetes:` targets',
  },
];

let subjects: Readonly<Record<string, unknown>> | undefined;

/** Objects of the installed grpc-js in which names are looked up. Created once, because all objects come from the same release. */
export function grpcJsSubjects(): Readonly<Record<string, unknown>> {
  if (subjects === undefined) {
    const credentials = grpcJs.credentials.createInsecure();
    const channel = new grpcJs.Channel('ipv4:127.0.0.1:1', credentials, { 'grpc.enable_channelz': 0 });
    subjects = { experimental, credentials, channel };
    channel.close();
  }
  return subjects;
}

/** True if the installed grpc-js has all names that the library's transport needs. */
export function hasTransportNames(): boolean {
  return [EXPERIMENTAL_SEAM, CREDENTIALS_SEAM, CHANNEL_SEAM].every((seam) =>
    isPresent(seam, grpcJsSubjects()[seam.on]),
  );
}
