/**
 * Runs `work` and yields what it reports, then what `last` makes of its result. A reader that is slow sees fewer steps,
 * never old ones.
 */
export async function* progressStream<Step, Result>(
  work: (report: (step: Step) => void) => Promise<Result>,
  last: (result: Result) => Step,
): AsyncGenerator<Step> {
  let latest: Step | undefined;
  let isOver = false;
  let wake = (): void => undefined;
  const running = work((step) => {
    latest = step;
    wake();
  }).finally(() => {
    isOver = true;
    wake();
  });
  // Awaited below; without this a reader that leaves early would make a failure count as unhandled.
  running.catch(() => undefined);
  while (!isOver) {
    if (latest !== undefined) {
      const step = latest;
      latest = undefined;
      yield step;
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  yield last(await running);
}
