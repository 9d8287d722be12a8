import IntercomApp

await IntercomCommand.main()
