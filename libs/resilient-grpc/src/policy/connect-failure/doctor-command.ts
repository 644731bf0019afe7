/** TLS options that the doctor accepts: a server name and file paths. */
export interface DoctorTls {
  readonly serverName?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

const OPTIONS = { ca: '--ca', cert: '--cert', key: '--key', serverName: '--server-name' } as const;
/** Schemes of targets that the doctor resolves. */
const SCHEMES: ReadonlySet<string> = new Set(['dns', 'ipv4', 'ipv6', 'unix', 'unix-abstract', 'kubernetes']);

/**
 * Returns the shell command that runs the doctor for `target` with the TLS options of the client; `undefined` if the doctor does not
 * support the scheme.
 *
 * @param target without credentials
 * @param tls `undefined` if the client does not use TLS
 * @param service service whose health the client checks; '' for the server as a whole, which the doctor checks by default
 */
export function doctorCommand(target: string, tls: DoctorTls | undefined, service = ''): string | undefined {
  const scheme = /^([a-z][a-z\d+.-]*):(?!\d+$)/i.exec(target)?.[1];
  if (scheme !== undefined && !SCHEMES.has(scheme.toLowerCase())) return undefined;
  const options = Object.entries(OPTIONS).flatMap(([key, option]) => {
    const value = tls?.[key as keyof DoctorTls];
    return value === undefined ? [] : [option, quoted(value)];
  });
  if (tls !== undefined && options.length === 0) options.push('--tls');
  if (service !== '') options.push('--service', quoted(service));
  return ['npx nestjs-resilient-grpc doctor', quoted(target), ...options].join(' ');
}

/** Quotes `argument` for a POSIX shell, if it contains characters that a shell would interpret. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

/** Appends the doctor command, if there is one, to a remedy. The remedy may be empty. */
export function withDoctor(remedy: string, command: string | undefined): string {
  return command === undefined ? remedy : `${remedy}; to diagnose, run: ${command}`;
}
