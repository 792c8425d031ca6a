// Loaded into the shim before its own code (node --import): how long one turn of its event loop takes at most, by the
// clock and in processor time of the thread. The clock counts what other processes took meanwhile, the other does not.
// It looks a thousand times a second, so that it does nothing until it is asked to: nobody's shim has it.
import { writeFileSync } from 'node:fs';

const file = process.env['WINDLASS_LOOP_PROBE'];
if (file !== undefined) {
  let [wallMs, cpuMs] = [0, 0];
  let [lastWall, lastCpu] = [0, process.threadCpuUsage()];
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    const [wall, cpu] = [performance.now(), process.threadCpuUsage()];
    wallMs = Math.max(wallMs, wall - lastWall - 1);
    cpuMs = Math.max(cpuMs, (cpu.user + cpu.system - lastCpu.user - lastCpu.system) / 1000);
    [lastWall, lastCpu] = [wall, cpu];
  };
  // The first SIGUSR2 starts a measurement, the second ends it; either one tells what the last one has seen.
  process.on('SIGUSR2', () => {
    writeFileSync(file, JSON.stringify({ wallMs, cpuMs }));
    clearInterval(timer);
    if (timer) {
      timer = undefined;
      return;
    }
    [wallMs, cpuMs, lastWall, lastCpu] = [0, 0, performance.now(), process.threadCpuUsage()];
    timer = setInterval(look, 1).unref();
  });
}
