/**
 * AbortSignal.timeout() that ends with its scope (`using`). The one of the platform keeps its timer, and with it whatever
 * listens to it, for the whole time, however early the work was done.
 */
export function openDeadline(ms: number): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const expire = (): void =>
    controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
  const timer = setTimeout(expire, ms).unref();
  return { signal: controller.signal, [Symbol.dispose]: () => clearTimeout(timer) };
}
