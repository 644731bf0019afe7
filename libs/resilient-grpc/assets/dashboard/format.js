// Formats numbers, durations, and times for display.

const whole = new Intl.NumberFormat('en');
const precise = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const day = new Intl.DateTimeFormat('en', { month: 'short', day: 'numeric' });

export const NONE = '–';

export function count(value) {
  return whole.format(value);
}

/** Formats a count with its noun: '1 call', '2 calls'. */
export function counted(value, thing, things = `${thing}s`) {
  return `${count(value)} ${value === 1 ? thing : things}`;
}

/** Formats a duration: '350 ms', '1.4 s', '12 s', '3 min 20 s', '2 h 5 min', '4 d 1 h'. */
export function duration(ms) {
  if (ms < 0.95) return '<1 ms';
  if (ms < 1_000) return `${ms < 10 ? precise.format(ms) : Math.round(ms)} ms`;
  const seconds = ms / 1_000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const all = Math.round(seconds);
  for (const [large, small, size, part] of [
    ['d', 'h', 86_400, 3_600],
    ['h', 'min', 3_600, 60],
    ['min', 's', 60, 1],
  ]) {
    if (all < size) continue;
    const rest = Math.floor((all % size) / part);
    return `${Math.floor(all / size)} ${large}${rest === 0 ? '' : ` ${rest} ${small}`}`;
  }
}

/** Formats a duration like {@link duration}, but in whole seconds, because fractions would flicker. The minimum is 1 s. */
export function age(ms) {
  return duration(Math.max(ms < 1_000 ? 1_000 : Math.floor(ms / 1_000) * 1_000, 0)).replace('.0 s', ' s');
}

export function rate(perSecond) {
  if (perSecond === undefined) return NONE;
  return `${perSecond === 0 || perSecond >= 100 ? whole.format(Math.round(perSecond)) : precise.format(perSecond)}/s`;
}

export function percent(part, all) {
  if (all === 0) return NONE;
  const share = (part / all) * 100;
  if (share > 0 && share < 0.1) return '<0.1%';
  // A share below 100% is never shown as 100%.
  if (share < 100 && share > 99.9) return '>99.9%';
  const isRound = Number.isInteger(share) || (share >= 10 && share <= 99);
  return `${isRound ? Math.round(share) : share.toFixed(1)}%`;
}

/** Returns 'Orders/Get' for '/orders.v1.Orders/Get'. */
export function shortPath(path) {
  const slash = path.lastIndexOf('/');
  return path.slice(Math.max(path.lastIndexOf('.', slash), path.lastIndexOf('/', slash - 1)) + 1);
}

/** Formats a time in the local time zone: '14:03:09', with the day if it differs from that of `now`. */
export function moment(at, now) {
  const date = new Date(at);
  const time = clock.format(date);
  return date.toDateString() === new Date(now).toDateString() ? time : `${day.format(date)}, ${time}`;
}

/** Formats a time with its age: '14:03:09, 12 s ago'. */
export function momentAndAge(at, now) {
  return `${moment(at, now)}, ${age(now - new Date(at))} ago`;
}
