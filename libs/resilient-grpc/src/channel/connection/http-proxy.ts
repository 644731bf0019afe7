type Env = Record<string, string | undefined>;

/** Names of the variable with the HTTP proxy. grpc-js reads only those in lower case. */
const PROXY_VARIABLES = ['grpc_proxy', 'https_proxy', 'http_proxy', 'HTTPS_PROXY', 'HTTP_PROXY'] as const;
const NO_PROXY_VARIABLES = ['no_grpc_proxy', 'no_proxy', 'NO_PROXY'] as const;

function firstSet<N extends string>(names: readonly N[], env: Readonly<Env>): N | undefined {
  return names.find((name) => (env[name] ?? '') !== '');
}

/** Returns the environment variable from which the HTTP proxy is read; `undefined` if none is set. */
export function proxyVariable(env: Readonly<Env>): string | undefined {
  return firstSet(PROXY_VARIABLES, env);
}

/**
 * Returns a warning if the environment sets a proxy with which connections cannot be opened, so that they bypass it; `undefined`
 * otherwise. The warning does not contain the value, which may contain a password.
 */
export function proxyProblem(env: Readonly<Env>): string | undefined {
  const variable = proxyVariable(env);
  if (variable === undefined) return undefined;
  const value = env[variable] ?? '';
  const scheme = URL.canParse(value) ? new URL(value).protocol : 'not a URL';
  if (scheme === 'http:') return undefined;
  return `connections bypass the proxy in ${variable}, which is ${scheme}; write an http:// URL, or set no_proxy`;
}

/** Calls `create`, in which grpc-js reads the variables of the proxy, and lets it also read those in upper case. */
export function withProxyVariables<T>(env: Env, create: () => T): T {
  const added = [firstSet(PROXY_VARIABLES, env), firstSet(NO_PROXY_VARIABLES, env)].filter(
    (name): name is 'HTTPS_PROXY' | 'HTTP_PROXY' | 'NO_PROXY' => name !== undefined && name === name.toUpperCase(),
  );
  const before = added.map((name) => [name.toLowerCase(), env[name.toLowerCase()]] as const);
  for (const name of added) env[name.toLowerCase()] = env[name];
  try {
    return create();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Reflect.deleteProperty(env, name);
      else env[name] = value;
    }
  }
}

/** Describes the HTTP proxy for messages: 'the HTTP proxy 10.0.0.3:3128 (http_proxy)'. */
export function httpProxy(address?: string): string {
  const variable = proxyVariable(process.env);
  return `the HTTP proxy${address === undefined ? '' : ` ${address}`}${variable === undefined ? '' : ` (${variable})`}`;
}
