import { readFileSync } from 'node:fs';

/**
 * Of the CPU time that this machine asked for since, the percentage that the host gave to others: what makes every time that is measured
 * here longer, whatever is measured. undefined where nothing says so.
 */
export function stolenSince(): () => number | undefined {
  const before = ticks();
  return () => {
    const now = ticks();
    if (before === undefined || now === undefined) return undefined;
    const [stolen, busy] = [now.stolen - before.stolen, now.busy - before.busy];
    return stolen + busy === 0 ? 0 : (100 * stolen) / (stolen + busy);
  };
}

/** Of all cores since the start of Linux (https://man7.org/linux/man-pages/man5/proc_stat.5.html). */
function ticks(): { readonly stolen: number; readonly busy: number } | undefined {
  let stat: string;
  try {
    stat = readFileSync('/proc/stat', 'utf8');
  } catch {
    return undefined;
  }
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, stolen = 0] = stat
    .slice(0, stat.indexOf('\n'))
    .split(/\s+/)
    .map(Number);
  return { stolen, busy: user + nice + system + irq + softirq };
}
