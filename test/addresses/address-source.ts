import { experimental, Metadata, status } from '@grpc/grpc-js';

type ResolverConstructor = Parameters<typeof experimental.registerResolver>[1];
type ResolverListener = ConstructorParameters<ResolverConstructor>[1];
type Report = Parameters<ResolverListener>;
type Endpoints = Extract<Report[0], { readonly ok: true }>['value'];

const SCHEME = 'addresses';
const sources = new Map<string, AddressSource>();

/** A grpc-js resolver that reports addresses whenever a test calls `resolve`. */
export class AddressSource {
  /** Number of times grpc-js requested addresses. */
  requests = 0;
  readonly target: string;
  private readonly listeners = new Set<ResolverListener>();
  private report: Report | undefined;

  /**
   * @param onRequest is called for each request of grpc-js; by default, each channel receives the latest report once
   * @param isForeign true if the resolver may return a service config, so that clients use the transport of grpc-js
   */
  constructor(
    private readonly onRequest?: (source: AddressSource) => void,
    readonly isForeign = false,
  ) {
    if (sources.size === 0) experimental.registerResolver(SCHEME, SourceResolver);
    const name = `source-${String(sources.size + 1)}`;
    sources.set(name, this);
    this.target = `${SCHEME}:///${name}`;
  }

  /**
   * Reports `addresses` to all channels of the target. Each element is a 'host:port', or a list of the addresses of one endpoint.
   * Returns one value per channel: true if the channel accepted the addresses.
   */
  resolve(
    addresses: readonly (string | readonly string[])[],
    { attributes = {}, serviceConfig }: { attributes?: Report[1]; serviceConfig?: object } = {},
  ): boolean[] {
    const endpoints: Endpoints = addresses.map((one) => ({
      addresses: [one].flat().map((address) => {
        const [host = '', port] = address.split(':');
        return { host, port: Number(port) };
      }),
    }));
    const config = serviceConfig === undefined ? null : experimental.statusOrFromValue(serviceConfig as never);
    return this.send([experimental.statusOrFromValue(endpoints), attributes, config, '']);
  }

  /** Reports to all channels of the target that the lookup failed. */
  fail(details: string): void {
    const error = { code: status.UNAVAILABLE, details, metadata: new Metadata() };
    this.send([experimental.statusOrFromError(error), {}, null, '']);
  }

  private send(report: Report): boolean[] {
    this.report = report;
    return [...this.listeners].map((listener) => this.notify(listener));
  }

  add(listener: ResolverListener): void {
    this.requests += 1;
    const isNew = !this.listeners.has(listener);
    this.listeners.add(listener);
    if (this.onRequest !== undefined) this.onRequest(this);
    else if (isNew && this.report !== undefined) setImmediate(() => this.notify(listener));
  }

  remove(listener: ResolverListener): void {
    this.listeners.delete(listener);
  }

  private notify(listener: ResolverListener): boolean {
    return this.report !== undefined && this.listeners.has(listener) && listener(...this.report);
  }
}

class SourceResolver {
  private readonly source: AddressSource;

  constructor(
    target: { readonly path: string },
    private readonly listener: ResolverListener,
  ) {
    const source = sources.get(target.path.replace(/^\//, ''));
    if (source === undefined) throw new Error(`no source for ${target.path}`);
    this.source = source;
    // The mark of the library's own resolvers.
    if (!source.isForeign) Object.assign(this, { [Symbol.for('nestjs-resilient-grpc.resolver')]: true });
  }

  updateResolution(): void {
    this.source.add(this.listener);
  }

  destroy(): void {
    this.source.remove(this.listener);
  }

  static getDefaultAuthority(): string {
    return 'localhost';
  }
}
