import type { Channel, experimental as Experimental } from '@grpc/grpc-js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import { experimental } from './experimental.js';

type CallStream = ReturnType<Channel['createCall']>;
type SentMessage = Awaited<ReturnType<Experimental.BaseFilter['sendMessage']>>;
/** grpc-js's factory for the filters of one call. */
interface FilterFactory {
  createFilter(): { getFilters?(): Experimental.Filter[] };
}
type MakeFilter = (telemetry: AttemptTelemetry) => Experimental.Filter;

/** Size of the header of each message (gRPC over HTTP/2, "Length-Prefixed-Message"): a compressed flag and the length. */
const FRAME_HEADER = 5;
const COMPRESSED = 1;

let makeFilter: MakeFilter | undefined;

/**
 * Reports the sizes of compressed messages to `telemetry`. grpc-js compresses in a filter of the call, and exposes neither the result
 * nor its size; a filter after that one sees messages as they are sent. Returns false without access to the filters (another release
 * of grpc-js, or a custom channel). Sizes are then those before compression.
 */
export function tellCompressed(call: CallStream, telemetry: AttemptTelemetry): boolean {
  const { filterStackFactory: factory } = call as CallStream & { readonly filterStackFactory?: Partial<FilterFactory> };
  const createFilter = factory?.createFilter?.bind(factory);
  const { BaseFilter } = experimental;
  if (factory === undefined || createFilter === undefined || BaseFilter === undefined) return false;
  const make = (makeFilter ??= wireFilter(BaseFilter));
  // Each call has its own factory.
  factory.createFilter = () => {
    const filters = createFilter();
    filters.getFilters?.().push(make(telemetry));
    return filters;
  };
  return true;
}

/** Last filter for requests and first filter for responses. It observes messages and delays none. */
function wireFilter(Base: typeof Experimental.BaseFilter): MakeFilter {
  class WireFilter extends Base {
    constructor(private readonly telemetry: AttemptTelemetry) {
      super();
    }

    override sendMessage(sending: Promise<SentMessage>): Promise<SentMessage> {
      const look = ({ message }: SentMessage): void => {
        if (message[0] === COMPRESSED) this.telemetry.sentCompressed(message.length - FRAME_HEADER);
      };
      sending.then(look, () => undefined);
      return sending;
    }

    /** Receives the message itself instead of the promise that its type declares, because it is the first filter. */
    override receiveMessage(receiving: Promise<Buffer> & Partial<Buffer>): Promise<Buffer> {
      const { 0: flag, length } = receiving;
      if (flag === COMPRESSED && length !== undefined) this.telemetry.receivedCompressed(length - FRAME_HEADER);
      return receiving;
    }
  }
  return (telemetry) => new WireFilter(telemetry);
}
