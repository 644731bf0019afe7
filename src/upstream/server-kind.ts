/** Server implementations of the upstream: our strategy, or Nest's own `Transport.GRPC`. */
export const SERVER_KINDS = ['resilient', 'nest'] as const;
export type ServerKind = (typeof SERVER_KINDS)[number];

export function isServerKind(name: string): name is ServerKind {
  return (SERVER_KINDS as readonly string[]).includes(name);
}
