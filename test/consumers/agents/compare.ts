/** Results and spans of one situation, as the application and its agent show them. */
export interface Sight {
  /** Results of the calls, as the gateway returns them, sorted. */
  readonly results: readonly string[];
  readonly spans: readonly SeenSpan[];
  /** Number of traces of these spans. */
  readonly traces: number;
}

/** A span of a gRPC call. */
export interface SeenSpan {
  readonly process: string;
  readonly kind: string;
  readonly name: string;
  readonly status: string;
  readonly message: string;
  /** Kind of the closest gRPC or HTTP span above. */
  readonly below: string;
}

/**
 * Returns the differences from plain Nest for the worse. A span, a message, or a parent that plain Nest lacks is better, and so is the
 * status code that the caller got, or caused by cancelling, if plain Nest shows another. Everything else is worse.
 *
 * @param isCancelled true if the caller has cancelled the call, and so got no status
 */
export function compare(control: Sight, seen: Sight, isCancelled: boolean): readonly string[] {
  const worse: string[] = [];
  if (control.results.join() !== seen.results.join())
    worse.push(`the caller gets ${seen.results.join()} instead of ${control.results.join()}`);
  const callerCode = isCancelled ? CANCELLED : /(?<="code":)\d+/.exec(seen.results.join())?.[0];
  const others = [...seen.spans];
  for (const wanted of control.spans) {
    const index = closest(wanted, others);
    const [found] = index === -1 ? [] : others.splice(index, 1);
    const title = `${wanted.kind} span '${wanted.name}' of the ${wanted.process}`;
    if (found === undefined) {
      worse.push(`no ${title}`);
      continue;
    }
    for (const key of ['status', 'message', 'below'] as const) {
      if (found[key] === wanted[key]) continue;
      const isNew =
        (key === 'message' && wanted.message === '') ||
        (key === 'below' && wanted.below === 'none') ||
        (key === 'status' && codeOf(found) === callerCode && codeOf(wanted) !== callerCode);
      if (!isNew) worse.push(`${title}: ${key} '${found[key]}' instead of '${wanted[key]}'`);
    }
  }
  for (const { process, kind, name } of others) {
    const isSecond = control.spans.some((span) => span.process === process && span.kind === kind);
    if (isSecond) worse.push(`another ${kind} span '${name}' of the ${process}`);
  }
  // More traces than calls are covered by the parents of the spans.
  if (seen.traces < control.traces) worse.push(`${seen.traces} traces instead of ${control.traces}`);
  return [...new Set(worse)];
}

const CANCELLED = '1';
const codeOf = ({ status }: SeenSpan) => status.split('/')[0];

/** Returns the index of the span that resembles `wanted` most; -1 if no span is of the same call. */
function closest(wanted: SeenSpan, spans: readonly SeenSpan[]): number {
  const likeness = spans.map((span) =>
    span.process === wanted.process && span.kind === wanted.kind && span.name === wanted.name
      ? 1 +
        Number(span.status === wanted.status) +
        Number(span.message === wanted.message) +
        Number(span.below === wanted.below)
      : 0,
  );
  const most = Math.max(0, ...likeness);
  return most === 0 ? -1 : likeness.indexOf(most);
}
