// Loaded into the shim before its own code (node --import): how long one turn of its event loop takes at most, by the
// clock and in processor time of the thread. The clock counts what other processes took meanwhile, the other does not.
import { writeFileSync } from 'node:fs';

const file = process.env['WINDLASS_LOOP_PROBE'];
if (file !== undefined) {
  let [wallMs, cpuMs] = [0, 0];
  let timer: NodeJS.Timeout | undefined;
  const watch = (): NodeJS.Timeout => {
    let [lastWall, lastCpu] = [performance.now(), process.threadCpuUsage()];
    return setInterval(() => {
      const [wall, cpu] = [performance.now(), process.threadCpuUsage()];
      wallMs = Math.max(wallMs, wall - lastWall - 1);
      cpuMs = Math.max(cpuMs, (cpu.user + cpu.system - lastCpu.user - lastCpu.system) / 1000);
      [lastWall, lastCpu] = [wall, cpu];
    }, 1).unref();
  };
  // SIGUSR2 starts a measurement anew, and tells what the one before it has seen. Before the first one nothing is watched:
  // a timer of 1 ms is soon compiled by V8, whose compilers are 8 MB of a shim that is otherwise at rest.
  process.on('SIGUSR2', () => {
    writeFileSync(file, JSON.stringify({ wallMs, cpuMs }));
    [wallMs, cpuMs] = [0, 0];
    timer ??= watch();
  });
}
