import type { Channel, experimental as Experimental } from '@grpc/grpc-js';
import type { AttemptTelemetry } from '../../call/call-telemetry.js';
import { experimental } from './experimental.js';

type CallStream = ReturnType<Channel['createCall']>;
type SentMessage = Awaited<ReturnType<Experimental.BaseFilter['sendMessage']>>;
/** What grpc-js makes the filters of one call with. */
interface FilterFactory {
  createFilter(): { getFilters?(): Experimental.Filter[] };
}
type MakeFilter = (telemetry: AttemptTelemetry) => Experimental.Filter;

/** Before each message (gRPC over HTTP/2, "Length-Prefixed-Message"): whether it is compressed, and its length. */
const FRAME_HEADER = 5;
const COMPRESSED = 1;

let makeFilter: MakeFilter | undefined;

/**
 * Tells `telemetry` of messages that are compressed on the wire. grpc-js compresses in a filter of the call, and shows neither
 * that it did nor the size; behind that filter messages are as they are sent. Without its filters (another grpc-js, a channel of
 * somebody's own) sizes are those before compression, and false is returned.
 */
export function tellCompressed(call: CallStream, telemetry: AttemptTelemetry): boolean {
  const { filterStackFactory: factory } = call as CallStream & { readonly filterStackFactory?: Partial<FilterFactory> };
  const createFilter = factory?.createFilter?.bind(factory);
  const { BaseFilter } = experimental;
  if (factory === undefined || createFilter === undefined || BaseFilter === undefined) return false;
  const make = (makeFilter ??= wireFilter(BaseFilter));
  // Each call has a factory of its own.
  factory.createFilter = () => {
    const filters = createFilter();
    filters.getFilters?.().push(make(telemetry));
    return filters;
  };
  return true;
}

/** The last filter on the way out, and the first on the way in. It looks on, and holds nothing up. */
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

    /** As the first of them it is given the message itself, whatever the type says. */
    override receiveMessage(receiving: Promise<Buffer> & Partial<Buffer>): Promise<Buffer> {
      const { 0: flag, length } = receiving;
      if (flag === COMPRESSED && length !== undefined) this.telemetry.receivedCompressed(length - FRAME_HEADER);
      return receiving;
    }
  }
  return (telemetry) => new WireFilter(telemetry);
}
