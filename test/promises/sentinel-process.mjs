// The process of `Sentinel`: sends a sample of the machine's load each second until its parent disconnects.
import { readFileSync, readdirSync } from 'node:fs';
import process from 'node:process';

const STEP_MS = 10;
const SAMPLE_MS = 1_000;
/**
 * Number of ticks per second, constant for user space. Linux reports CPU times in ticks
 * (https://man7.org/linux/man-pages/man5/proc_stat.5.html).
 */
const TICKS_PER_SECOND = 100;

/**
 * CPU time used and stolen on all cores since boot, in ticks, and the number of cores. Excludes interrupts, which belong
 * to no process and are largely caused by the traffic of a scenario.
 */
function machineTicks() {
  const lines = readFileSync('/proc/stat', 'utf8').split('\n');
  const [, user, nice, system, , , , , stolen] = lines[0].split(/\s+/).map(Number);
  return { busy: user + nice + system, stolen, cores: lines.filter((line) => /^cpu\d/.test(line)).length };
}

/** CPU time of `root`, its descendants, and the exited children of each of them, in ticks. */
function ownTicks(root) {
  const processes = new Map();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      // Splits only the text after the last ')', because the name of a process may contain spaces and parentheses.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const [user, system, exitedUser, exitedSystem] = fields.slice(11, 15).map(Number);
      processes.set(Number(entry), { parent: Number(fields[1]), ticks: user + system + exitedUser + exitedSystem });
    } catch {
      // Skips a process that has exited since the folder was read.
    }
  }
  const isOwn = (pid) => {
    for (let at = pid; at > 1; at = processes.get(at)?.parent ?? 0) if (at === root) return true;
    return false;
  };
  let ticks = 0;
  for (const [pid, { ticks: used }] of processes) if (isOwn(pid)) ticks += used;
  return ticks;
}

function cpuTimes() {
  try {
    return { ...machineTicks(), own: ownTicks(process.ppid) };
  } catch {
    // Only Linux reports CPU times in /proc in this format.
    return undefined;
  }
}

let before = cpuTimes();
let sampledAt = performance.now();
let expectedAt = sampledAt + STEP_MS;
let maxTimerDelayMs = 0;

function sample(now) {
  const after = cpuTimes();
  const share = (ticks) => Math.max(0, (100 * ticks * 1_000) / (TICKS_PER_SECOND * after.cores * (now - sampledAt)));
  const cpu = before !== undefined &&
    after !== undefined && {
      othersPercent: share(after.busy - before.busy - (after.own - before.own)),
      stolenPercent: share(after.stolen - before.stolen),
    };
  process.send({ at: Date.now(), maxTimerDelayMs, ...cpu });
  before = after;
  sampledAt = now;
  maxTimerDelayMs = 0;
}

function step() {
  const now = performance.now();
  maxTimerDelayMs = Math.max(maxTimerDelayMs, now - expectedAt);
  if (now - sampledAt >= SAMPLE_MS) sample(now);
  expectedAt = performance.now() + STEP_MS;
  setTimeout(step, STEP_MS);
}

process.once('disconnect', () => process.exit());
setTimeout(step, STEP_MS);
