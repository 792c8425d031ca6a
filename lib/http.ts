// The HTTP server of Node for processes that shall stay small: an import of node:http reads every name that module has,
// among them WebSocket and its like, which loads undici and the web's streams; asking for the module reads none.
export const { createServer } = process.getBuiltinModule('node:http');
