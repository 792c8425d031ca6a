/** What is wrong with a part of a Dockerfile, said where its place in the file is not known. */
export class Problem extends Error {
  override readonly name = 'Problem';
}

/** Runs something that knows no places: `place` makes the error of a Problem that it throws. */
export function withPlace<T>(place: (problem: string, cause: unknown) => Error, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof Problem) throw place(cause.message, cause);
    throw cause;
  }
}
