// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LibUV
import OperatorTools

/// Runs `pglease top`: keys, signals and answers go to the model, its lines to the terminal.
///
/// The console is asked on a worker thread, one question at a time, so that a broker that hangs does
/// not take the keys away. However it ends, the terminal is as it was.
final class TopSession: FileWatcherDelegate {
    /// Between Escape and the rest of an arrow key, also over a slow line.
    private static let escapePause: Int64 = 50_000_000

    private let loop: EventLoop
    private let console: ConsoleConnection
    private let terminal: TerminalScreen
    private let glyphs: Glyphs
    private var model: TopModel
    private var painter: TerminalPainter
    private var decoder = KeyDecoder()
    private var isReading = false
    private var readStarted: Int64
    private var signals: [SignalWatcher] = []
    private var keys: FileWatcher?
    private var nextReading: LoopTimer?
    private var escapeEnd: LoopTimer?

    init(
        _ console: ConsoleConnection, _ terminal: TerminalScreen, _ first: BrokerReading,
        interval: Duration, glyphs: Glyphs, isColoured: Bool
    ) throws {
        self.console = console
        self.terminal = terminal
        self.glyphs = glyphs
        painter = TerminalPainter(coloured: isColoured)
        model = TopModel(address: console.address, interval: interval)
        do {
            loop = try EventLoop()
        } catch {
            Output.error("pglease: \(error)")
            throw ExitCode(ExitStatus.operatingSystem)
        }
        readStarted = loop.now
        model.received(first, at: now)
    }

    private var now: Duration { .nanoseconds(loop.now) }

    /// Returns never: the process ends with the screen.
    func run() -> Never {
        do throws(UVError) {
            try watch()
        } catch {
            Output.error("pglease: \(error)")
            exit(ExitStatus.operatingSystem)
        }
        terminal.enter()
        draw()
        armNextReading()
        loop.run()
        leave(signal: nil)
    }

    private func watch() throws(UVError) {
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signals.append(
                try SignalWatcher(loop: loop, signal: signal) { [unowned self] in
                    leave(signal: signal)
                })
        }
        signals.append(
            try SignalWatcher(loop: loop, signal: SIGTSTP) { [unowned self] in suspend() })
        // SIGSTOP cannot be caught: after it the shell's modes are in force.
        signals.append(
            try SignalWatcher(loop: loop, signal: SIGCONT) { [unowned self] in resume() })
        signals.append(
            try SignalWatcher(loop: loop, signal: SIGWINCH) { [unowned self] in draw() })
        nextReading = try LoopTimer(loop: loop) { [unowned self] in read() }
        escapeEnd = try LoopTimer(loop: loop) { [unowned self] in take(decoder.flush()) }
        let keys = try FileWatcher(loop: loop, descriptor: terminal.reader)
        keys.delegate = self
        keys.watch(.readable)
        self.keys = keys
    }

    // MARK: Keys

    func fileReady(_ events: FileEvents, error: UVError?) {
        guard let bytes = terminal.readKeys() else { leave(signal: nil) }
        take(decoder.feed(bytes))
        if decoder.isWaiting { escapeEnd?.arm(at: loop.now + Self.escapePause) }
    }

    private func take(_ keys: [Key]) {
        for key in keys {
            let interval = model.interval
            switch model.handle(key) {
            case .quit: leave(signal: nil)
            case .suspend: suspend()
            case .redraw: painter.forget()
            case .readNow: read()
            case .kill(let lease): kill(lease)
            case nil: break
            }
            if model.interval != interval { armNextReading() }
        }
        if !keys.isEmpty { draw() }
    }

    // MARK: The console

    private func armNextReading() {
        let nanoseconds = Int64(model.interval / .nanoseconds(1))
        nextReading?.arm(at: max(loop.now, readStarted + nanoseconds))
    }

    private func read() {
        if isReading { return }
        isReading = true
        readStarted = loop.now
        let console = console
        submit {
            Result { () throws(ConsoleFailure) in try console.read() }
        } then: { [unowned self] result in
            isReading = false
            switch result {
            case .success(let reading): model.received(reading, at: now)
            case .failure(let failure): model.lost(failure.text, at: now)
            }
            draw()
            armNextReading()
        }
    }

    private func kill(_ lease: String) {
        let console = console
        submit {
            Result { () throws(ConsoleFailure) in try console.kill(lease: lease) }
        } then: { [unowned self] result in
            switch result {
            case .success: model.killed(lease, failure: nil)
            case .failure(let failure): model.killed(lease, failure: failure.text)
            }
            draw()
            read()
        }
    }

    private func submit<Answer: Sendable>(
        _ work: @escaping @Sendable () -> Answer, then completion: @escaping (Answer) -> Void
    ) {
        do throws(UVError) {
            try loop.submit(work, then: completion)
        } catch {
            terminal.leave()
            Output.error("pglease: \(error)")
            exit(ExitStatus.operatingSystem)
        }
    }

    // MARK: The terminal

    private func draw() {
        guard let size = terminal.size else { leave(signal: nil) }
        let drawing = TopDrawing(
            model, width: size.columns, height: size.rows, now: now, glyphs: glyphs)
        model.pageLength = drawing.pageLength
        terminal.write(painter.paint(drawing.lines(), width: size.columns))
    }

    private func resume() {
        terminal.enter()
        painter.forget()
        draw()
    }

    private func suspend() {
        terminal.leave()
        Glibc.kill(getpid(), SIGSTOP)
        // Here again after SIGCONT.
        resume()
    }

    /// By a signal it ends as others do of that signal, for a shell that looks at it.
    private func leave(signal number: Int32?) -> Never {
        terminal.leave()
        if let number {
            signal(number, SIG_DFL)
            raise(number)
        }
        exit(0)
    }
}
