import IntercomApp
import Linux

// Before any other thread exists, so that all of them leave the signals to the one that waits for them.
prepareServerSignals()
await IntercomCommand.main()
