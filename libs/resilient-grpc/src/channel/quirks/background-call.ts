/** grpc-js's connection. It keeps the process running while `activeCalls` is not empty. */
interface Transport {
  readonly activeCalls?: ReadonlySet<object>;
  readonly session?: { ref(): void; unref(): void };
  addActiveCall?(call: object): void;
  removeActiveCall?(call: object): void;
}

const backgroundCalls = new WeakMap<object, Set<object>>();

/**
 * Lets the process exit while `call` runs. The call must have started on a channel from `channelOf()`, which has one connection. The
 * process keeps running while the connection has other calls. Has no effect if the installed grpc-js lacks the required private fields.
 */
export function runInBackground(call: object): void {
  // The cast is safe for supported grpc-js releases. Others may lack the fields, so all fields are optional.
  const { childCall } = call as { readonly childCall?: { readonly transport?: Transport } | null };
  const transport = childCall?.transport;
  if (childCall === undefined || childCall === null || transport?.activeCalls?.has(childCall) !== true) return;
  const background = backgroundCalls.get(transport) ?? observe(transport);
  background?.add(childCall);
  update(transport, background);
}

/** Observes the calls that start and end on `transport`, because grpc-js would keep the process running for background calls, too. */
function observe(transport: Transport): Set<object> | undefined {
  const add = transport.addActiveCall?.bind(transport);
  const remove = transport.removeActiveCall?.bind(transport);
  if (add === undefined || remove === undefined) return undefined;
  const background = new Set<object>();
  backgroundCalls.set(transport, background);
  transport.addActiveCall = (call) => {
    add(call);
    update(transport, background);
  };
  transport.removeActiveCall = (call) => {
    background.delete(call);
    remove(call);
    update(transport, background);
  };
  return background;
}

function update({ activeCalls, session }: Transport, background: ReadonlySet<object> | undefined): void {
  if (activeCalls === undefined || background === undefined) return;
  if (activeCalls.size > background.size) session?.ref();
  else session?.unref();
}
