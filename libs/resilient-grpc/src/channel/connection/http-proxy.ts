const PROXY_VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy'] as const;

/** Returns the environment variable from which grpc-js reads the HTTP proxy; `undefined` if none is set. */
export function proxyVariable(env: Readonly<Record<string, string | undefined>>): string | undefined {
  return PROXY_VARIABLES.find((name) => (env[name] ?? '') !== '');
}

/** Describes the HTTP proxy for messages: 'the HTTP proxy 10.0.0.3:3128 (http_proxy)'. */
export function httpProxy(address?: string): string {
  const variable = proxyVariable(process.env);
  return `the HTTP proxy${address === undefined ? '' : ` ${address}`}${variable === undefined ? '' : ` (${variable})`}`;
}
